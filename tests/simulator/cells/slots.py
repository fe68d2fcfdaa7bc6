"""Which cell has which customers: slots with an epoch, and the one place that says so."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from shared.errors import StoreUnavailable
from tests.simulator.network import Network
from tests.simulator.weather import Weather

SLOTS: Final = 8
"""Few, so that each is moved often; a real map has 16,384."""

Result = TypeVar("Result")


def slot_of(customer: str) -> int:
    """The slot of a customer, for good. ``fence.lua`` counts it in the same way."""
    slot = 0
    for byte in customer.encode():
        slot = (slot * 31 + byte) % SLOTS
    return slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Who has a slot. While it moves ``source`` is the cell that gives it up, until all is forgotten there.

    ``is_open`` says whether ``cell`` takes orders for it already. Each move raises ``epoch``.
    """

    cell: str
    epoch: int
    source: str | None = None
    is_open: bool = True

    def moving_to(self, cell: str) -> "Holding":
        """The same slot on its way to another cell."""
        return Holding(cell=cell, epoch=self.epoch + 1, source=self.cell, is_open=False)

    def opened(self) -> "Holding":
        """The new cell takes orders."""
        return replace(self, is_open=True)

    def settled(self) -> "Holding":
        """The old cell has nothing of it any more."""
        return replace(self, source=None)


class SlotMap:
    """The map, in a store of its own that is asked over the wire. Changes are compared with what was seen."""

    def __init__(self, cells: Sequence[str], network: Network, weather: Weather) -> None:
        self.holdings = [Holding(cell=cells[slot % len(cells)], epoch=1) for slot in range(SLOTS)]
        self.moves = 0
        self.is_away = False
        self._network = network
        self._weather = weather

    def is_settled(self) -> bool:
        """Whether no slot moves."""
        return all(holding.source is None for holding in self.holdings)

    async def read(self) -> list[Holding]:
        """The map as it is. Raises StoreUnavailable."""

        async def serve() -> list[Holding]:
            return list(self.holdings)

        return await self._ask(serve)

    async def change(self, slot: int, seen: Holding, to: Holding) -> bool:
        """Whether the slot was as it was seen, and is now as wanted. Raises StoreUnavailable."""

        async def serve() -> bool:
            return self.change_now(slot, seen, to)

        return await self._ask(serve)

    def change_now(self, slot: int, seen: Holding, to: Holding) -> bool:
        """The same, where the map is."""
        if self.holdings[slot] != seen:
            return False
        self.holdings[slot] = to
        self.moves += to.epoch > seen.epoch
        return True

    async def _ask(self, serve: Callable[[], Awaitable[Result]]) -> Result:
        async def serve_if_there() -> Result:
            if self.is_away:
                raise StoreUnavailable("the map is away")
            return await serve()

        passage = self._weather.to_store(1)
        return await self._network.ask(serve_if_there, passage, lambda: StoreUnavailable("no answer"))
