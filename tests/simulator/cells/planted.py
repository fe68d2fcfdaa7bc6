"""Bugs of systems in cells, planted one by one, each with the fault that it must be found by."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Final
from unittest import mock

from shared.errors import StoreUnavailable
from tests.simulator.cells import fencing
from tests.simulator.cells.cell_store import NUMBERS, SlottedOrder
from tests.simulator.cells.escrow import Escrow
from tests.simulator.cells.fencing import PACKAGE
from tests.simulator.cells.slot_moves import SlotMover
from tests.simulator.cells.slots import Holding
from tests.simulator.cells.weather import CellPlan
from tests.simulator.planted import Planting, replaced, rewritten
from tests.simulator.weather import Odds

OLD_EPOCH: Final = "epoch > tonumber(ARGV[2])"


def rough(plan: CellPlan) -> CellPlan:
    """The same with slots that move all the time, processes that stall, and messages that come again."""
    return replace(
        plan,
        seconds=8.0,
        orders=12,
        cells=3,
        customers=4,
        stock=dict.fromkeys(plan.stock, 40),
        odds=Odds(slow=0.5, store_cut=0.1, store_late=0.15, copied=0.6, answer_lost=0.4, publish_late=0.2),
        pauses={"stall": 1.0, "crash": 1.5, "move": 0.4},
        between={"slot": 0.15, "cell_down": 4.0},
    )


def talkative(plan: CellPlan) -> CellPlan:
    """The same over slow wires alone, with orders that are moved on, and clients that miss answers."""
    return replace(
        rough(plan),
        seconds=5.0,
        orders=14,
        odds=Odds(slow=0.7, answer_lost=0.3),
        pauses={"move": 0.15},
        between={"slot": 0.08},
    )


def unpublished(plan: CellPlan) -> CellPlan:
    """The same with a broker that often does not confirm."""
    plan = rough(plan)
    odds = replace(plan.odds, publish_cut=0.5, publish_late=0.5)
    return replace(plan, odds=odds, pauses={"crash": 0.4, "move": 0.4})


def together(*plantings: Planting) -> Planting:
    """A bug in several places."""

    @contextmanager
    def planting() -> Iterator[None]:
        with ExitStack() as stack:
            for each in plantings:
                stack.enter_context(each())
            yield

    return planting


def unchecked(script: str) -> Planting:
    """A script of the pipeline without its fence."""
    line, _ = fencing.CHECKS[script]
    return lambda: mock.patch.dict(fencing.CHECKS, {script: (line, "")})


# --- escrow -----------------------------------------------------------------------------------------------


async def _credit_first(self: Escrow, to: str, sku: str, qty: int) -> None:
    number = int(await self._own._redis.hget(NUMBERS, to) or 0) + 1
    await self.credit(to, number, sku, qty)
    await self._own.debit(to, sku, qty)


async def _settle_first(self: Escrow, to: str) -> None:
    for number, sku, qty in await self._own.in_escrow(to):
        await self._own.settle(to, number)
        await self.credit(to, number, sku, qty)


# --- slots ------------------------------------------------------------------------------------------------

_CLEAN_UP: Final = SlotMover.clean_up
_HAND_OVER: Final = SlotMover.hand_over
_HOLD: Final = SlotMover.hold


async def _only_open(self: SlotMover, cell: str, slot: int, epoch: int, *, is_open: bool) -> bool:
    return not is_open or await _HOLD(self, cell, slot, epoch, is_open=is_open)


async def _shut_at_last(self: SlotMover, slot: int, holding: Holding, source: str) -> None:
    await _HOLD(self, source, slot, holding.epoch, is_open=False)
    await _CLEAN_UP(self, slot, holding, source)


async def _open_first(self: SlotMover, slot: int, holding: Holding, source: str) -> Holding:
    if await self.hold(source, slot, holding.epoch, is_open=False):
        await self.hold(holding.cell, slot, holding.epoch, is_open=True)
    return await _HAND_OVER(self, slot, holding, source)


async def _take_over_the_dead(self: SlotMover, slot: int, holding: Holding, source: str) -> Holding:
    try:
        return await _HAND_OVER(self, slot, holding, source)
    except StoreUnavailable:
        await self.hold(holding.cell, slot, holding.epoch, is_open=True)
        raise


def _without_pieces(_: SlottedOrder) -> list[str | int]:
    return []


@dataclass(frozen=True, slots=True)
class PlantedBug:
    """How a bug is planted, how the fault begins by which it is found, and in which weather.

    ``first_seed`` is where the search for a rare one begins.
    """

    planting: Planting
    fault: str
    climate: Callable[[CellPlan], CellPlan] = rough
    first_seed: int = 0


BUGS: Final[Mapping[str, PlantedBug]] = {
    "a transfer is applied twice": PlantedBug(
        rewritten(PACKAGE, "credit", ("~= taken + 1", "> taken + 1")),
        "stock not conserved",
    ),
    "a transfer is credited before it is debited": PlantedBug(
        replaced(Escrow, "lend", _credit_first),
        "stock not conserved",
    ),
    "a transfer is settled before it is credited": PlantedBug(
        replaced(Escrow, "deliver", _settle_first),
        "stock not conserved",
        first_seed=1,
    ),
    "escrow takes what is reserved": PlantedBug(
        rewritten(PACKAGE, "debit", ("redis.call('GET', KEYS[1])", "redis.call('HGET', KEYS[2], ARGV[2])")),
        "oversold",
        first_seed=1,
    ),
    "a slot moves without the fence": PlantedBug(
        together(replaced(SlotMover, "hold", _only_open), replaced(SlotMover, "clean_up", _shut_at_last)),
        "accepted twice",
        first_seed=4,
    ),
    "a slot is opened before it is copied": PlantedBug(
        replaced(SlotMover, "hand_over", _open_first), "accepted twice"
    ),
    "an old epoch is accepted": PlantedBug(
        together(*(rewritten(PACKAGE, name, (OLD_EPOCH, "false")) for name in ("hold", "adopt"))),
        "two holders",
    ),
    "a dead cell's slots are taken over": PlantedBug(
        replaced(SlotMover, "hand_over", _take_over_the_dead),
        "accepted twice",
        first_seed=1,
    ),
    "a cell accepts for slots that it has not": PlantedBug(unchecked("accept"), "accepted twice"),
    "a cell decides for slots that it has not": PlantedBug(unchecked("decide"), "decided twice"),
    "orders in flight are forgotten": PlantedBug(
        rewritten(PACKAGE, "hold", ("KEYS[2], 0, -1", "KEYS[2], 1, 0")),
        "not decided",
    ),
    "keys stay behind": PlantedBug(
        rewritten(PACKAGE, "adopt", ("#key > 0", "false")), "one key, two orders", talkative, 7
    ),
    "a decision that is not published is forgotten": PlantedBug(
        rewritten(PACKAGE, "hold", ("KEYS[3], 0, -1", "KEYS[3], 1, 0")),
        "not announced",
        unpublished,
        57,
    ),
    "moves that are not announced stay behind": PlantedBug(
        rewritten(PACKAGE, "adopt", ("ipairs(moves)", "ipairs({})")),
        "not announced",
        first_seed=3,
    ),
    "a cell cancels for slots that it has not": PlantedBug(
        unchecked("move"), "stock not conserved", talkative, 4
    ),
    "reserved pieces stay behind": PlantedBug(
        replaced(SlottedOrder, "pieces", property(_without_pieces)),
        "books of",
        first_seed=1,
    ),
}
