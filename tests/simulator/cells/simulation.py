"""One world of cells: its plan, what breaks and moves in it, the calm after that, and the judgement."""

import asyncio
import random
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from shared import keyspace
from shared.orders.moves import Move, MoveResult
from shared.orders.placement import Placement, PlacementResult
from shared.pipeline import ORDER_PROCESSOR, RETRY_TIERS_SECONDS
from tests.simulator.bank import Bank
from tests.simulator.broker import SimulatedBroker
from tests.simulator.cells.cell import Cell, WitnessedStore
from tests.simulator.cells.cell_store import NUMBERS, SLOTS_KEY, CellStore, escrow_to
from tests.simulator.cells.escrow import Escrow
from tests.simulator.cells.faults import CellFaults
from tests.simulator.cells.fencing import fenced
from tests.simulator.cells.judging import CellWitness, final_faults, slot_faults, stock_faults
from tests.simulator.cells.repeats import Repeats
from tests.simulator.cells.routing import CellRouter
from tests.simulator.cells.slot_moves import SlotMover
from tests.simulator.cells.slots import SlotMap
from tests.simulator.cells.weather import CellPlan, draw_cells
from tests.simulator.clients import Clients, wishes
from tests.simulator.customers import Customers
from tests.simulator.faults import Faults
from tests.simulator.loop import SimulatedLoop
from tests.simulator.moving import Movers
from tests.simulator.network import Network
from tests.simulator.pricing import PriceList
from tests.simulator.processes import Process
from tests.simulator.services import Gateway, Surroundings, processor
from tests.simulator.simulation import Outcome, outcome_of
from tests.simulator.store import StoreServer
from tests.simulator.substitutes import UNMARKED, VirtualTime
from tests.simulator.supervision import Supervisor
from tests.simulator.trace import Trace
from tests.simulator.weather import Weather

NAMES: Final = ("amber", "birch", "cedar")
CALM_SECONDS: Final = 200.0
POLL_SECONDS: Final = 0.5
WATCH_SECONDS: Final = 0.2


class CellSimulator:
    """Runs seeds one after another."""

    def __init__(self) -> None:
        self._servers = [StoreServer() for _ in NAMES]

    def run(self, seed: int, *, is_traced: bool = False, plan: CellPlan | None = None) -> Outcome:
        """The outcome of one seed, the same each time."""
        chosen = plan or draw_cells(seed)
        for server in self._servers:
            server.empty()

        def playing(
            loop: SimulatedLoop, trace: Trace, virtual: VirtualTime, outcome: Outcome
        ) -> Coroutine[Any, Any, None]:
            return _World(chosen, loop, trace, virtual, self._servers, outcome).play()

        with fenced():
            return outcome_of(chosen, playing, is_traced=is_traced)


class _World:
    """The world of one seed."""

    def __init__(
        self,
        plan: CellPlan,
        loop: SimulatedLoop,
        trace: Trace,
        virtual: VirtualTime,
        servers: Sequence[StoreServer],
        outcome: Outcome,
    ) -> None:
        seed = plan.seed
        self._plan, self._loop, self._trace, self._virtual = plan, loop, trace, virtual
        self._outcome = outcome
        self._weather = Weather(plan, random.Random(f"weather {seed}"))
        self._network = Network(loop)
        self._witness = CellWitness()
        self._customers = Customers(leases_may_end=True, most_unmarked=UNMARKED)
        self._dice = random.Random(f"between cells {seed}")
        self._owners: dict[str, str] = {}
        self._clients = Clients(self._place, random.Random(f"clients {seed}"), trace)
        self._movers = Movers(self._ask, self._clients.ledger, random.Random(f"movers {seed}"), trace)
        names = NAMES[: plan.cells]
        self._map = SlotMap(names, self._network, self._weather)
        self._cells = {name: self._cell(name, server) for name, server in zip(names, servers, strict=False)}
        self._servers = {name: cell.server for name, cell in self._cells.items()}
        supervisors = {name: cell.supervisor for name, cell in self._cells.items()}
        self._routers = [
            CellRouter(
                self._map, supervisors, plan.customers, self._owners, random.Random(f"router {number} {seed}")
            )
            for number in range(plan.routers)
        ]
        self._wanted = wishes(plan, random.Random(f"wishes {seed}"))
        self._faults = CellFaults(plan.between, [*self._cells.values()], self._map, trace, self._dice)

    def _cell(self, name: str, server: StoreServer) -> Cell:
        seed, network, weather, trace = self._plan.seed, self._network, self._weather, self._trace
        prices = PriceList(server, {}, random.Random(f"prices {name} {seed}"), trace)
        store = WitnessedStore(server, network, weather, trace, self._customers, prices)
        store.cell, store.witness = name, self._witness
        around = Surroundings(
            plan=self._plan,
            network=network,
            weather=weather,
            trace=trace,
            time=self._virtual,
            store=store,
            broker=SimulatedBroker(network, weather, trace),
            customers=self._customers,
            price_list=prices,
            bank=Bank(network, weather, random.Random(f"bank {name} {seed}"), 0.0),
        )
        supervisor = Supervisor(around, self._loop, random.Random(f"supervisor {name} {seed}"))
        faults = Faults(around, supervisor, self._movers, random.Random(f"faults {name} {seed}"))
        return Cell(
            name=name, around=around, supervisor=supervisor, faults=faults, store=CellStore(store.client())
        )

    async def play(self) -> None:
        """From the first order to the judgement."""
        self._stock_up()
        for cell in self._cells.values():
            self._start(cell)
        placing = self._network.spawn(self._clients.run(self._wanted))
        watching = self._network.spawn(self._watch())
        breaking = self._faults.begin(self._network)
        await asyncio.gather(*(cell.faults.run() for cell in self._cells.values()))
        for task in breaking:
            task.cancel()
        self._faults.end()
        self._outcome.calm_at = self._loop.time()
        is_settled = await self._settles(placing)
        watching.cancel()
        self._outcome.settled_at = self._loop.time()
        self._judge(is_settled)

    def _start(self, cell: Cell) -> None:
        stores = {name: each.store for name, each in self._cells.items()}
        dice = random.Random(f"repeats {cell.name} {self._plan.seed}")
        repeats = Repeats(self._network, self._weather, dice)

        def escrow(_: Surroundings, __: Process, dice: random.Random) -> Escrow:
            return Escrow(cell.name, stores, [*self._plan.stock], self._weather, repeats, dice)

        def mover(_: Surroundings, __: Process, ___: random.Random) -> SlotMover:
            return SlotMover(self._map, stores, repeats)

        for job, build in (
            ("gateway", Gateway),
            ("processor", processor),
            ("escrow", escrow),
            ("mover", mover),
        ):
            cell.supervisor.employ(f"{cell.name}.{job}", build, 1)

    def _stock_up(self) -> None:
        """All stock is in some cell from the start, shared out at random."""
        for sku, pieces in self._plan.stock.items():
            cuts = sorted(self._dice.randint(0, pieces) for _ in range(len(self._cells) - 1))
            for cell, first, last in zip(self._cells.values(), (0, *cuts), (*cuts, pieces), strict=True):
                cell.server.carry_out("SET", keyspace.inventory(sku), last - first)
                cell.server.carry_out("HSET", keyspace.SUPPLIED, sku, last - first)
        for slot, holding in enumerate(self._map.holdings):
            self._servers[holding.cell].carry_out("HSET", SLOTS_KEY, slot, f"{holding.epoch} open")

    async def _place(self, placement: Placement) -> PlacementResult:
        return await self._dice.choice(self._routers).place(placement)

    async def _ask(self, order_id: str, move: Move) -> MoveResult | None:
        return await self._dice.choice(self._routers).move(order_id, move)

    # --- the judgement --------------------------------------------------------------------------------

    async def _watch(self) -> None:
        while not self._outcome.faults:
            if self._witness.has_news:
                self._witness.has_news = False
                self._look()
            await asyncio.sleep(WATCH_SECONDS)

    def _look(self) -> None:
        """What must hold at any instant."""
        self._outcome.faults += stock_faults(self._servers, self._plan.stock)
        self._outcome.faults += slot_faults(self._servers)

    async def _settles(self, placing: "asyncio.Task[None]") -> bool:
        while self._loop.time() < self._outcome.calm_at + CALM_SECONDS:
            if placing.done() and self._is_still():
                return True
            await asyncio.sleep(POLL_SECONDS)
        return False

    def _is_still(self) -> bool:
        if self._network.under_way or not self._map.is_settled():
            return False
        return all(map(self._is_cell_still, self._cells.values()))

    def _is_cell_still(self, cell: Cell) -> bool:
        queues = cell.broker.queues
        names = (ORDER_PROCESSOR.queue, *map(ORDER_PROCESSOR.retry_queue, RETRY_TIERS_SECONDS))
        waiting = (keyspace.OUTBOX, keyspace.MOVES, *map(escrow_to, self._cells))
        return not (
            any(queues.depth(name) or queues.unacked(name) for name in names)
            or any(cell.server.carry_out("EXISTS", key) for key in waiting)
        )

    def _judge(self, is_settled: bool) -> None:
        outcome, ledger = self._outcome, self._clients.ledger
        if not is_settled:
            outcome.faults.append(f"not settled {CALM_SECONDS:.0f} s after the last fault")
        for cell in self._cells.values():
            outcome.faults += cell.supervisor.faults
        self._look()
        outcome.faults += self._witness.faults()
        bodies = {event_id for cell in self._cells.values() for event_id in cell.broker.bodies}
        outcome.faults += final_faults(self._servers, self._map, ledger, self._movers, bodies)
        outcome.counts.update(
            orders=len(self._witness.accepted),
            decided=len(self._witness.decided),
            acknowledged=len(ledger.acknowledged),
            refused=self._witness.refused,
            slots_moved=self._map.moves,
            transfers=sum(
                int(each) for server in self._servers.values() for each in server.carry_out("HVALS", NUMBERS)
            ),
            deaths=sum(cell.supervisor.deaths for cell in self._cells.values()),
        )
