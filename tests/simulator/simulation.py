"""One simulation: its plan, its faults, the calm after them, and the judgement."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from dashboard.dead_letters.desk import Tally
from shared import keyspace
from shared.errors import DependencyUnavailable
from tests.harness.routing import messages_in
from tests.simulator.aging import faults_after_sweep, sweep_all
from tests.simulator.bank import Bank
from tests.simulator.broker import SimulatedBroker
from tests.simulator.clients import Clients, wishes
from tests.simulator.customers import Customers
from tests.simulator.faults import Faults
from tests.simulator.judging import Scene, faults_at, stock_of
from tests.simulator.loop import Endless, SimulatedLoop
from tests.simulator.moving import Movers
from tests.simulator.network import Network
from tests.simulator.pricing import PriceList
from tests.simulator.processes import Spot
from tests.simulator.services import Surroundings, consumed
from tests.simulator.store import SimulatedStore, StoreServer
from tests.simulator.substitutes import UNMARKED, VirtualTime, substituted
from tests.simulator.supervision import Supervisor
from tests.simulator.trace import Trace
from tests.simulator.watching import Watcher
from tests.simulator.weather import BROKEN_SKU, Plan, Weather, draw

CALM_SECONDS: Final = 2_400.0
"""So long after the last fault all is settled: many leases, since copies of one notification that cannot be
delivered wait for one another, a lease at a time, and several hours of those that bound letters."""
POLL_SECONDS: Final = 0.5
LOOKS_AT_WATCHER: Final = 240
ERRAND_SECONDS: Final = 60.0
WAITING: Final = (keyspace.OUTBOX, keyspace.MOVES, keyspace.DUE, keyspace.PAYMENTS_DUE)
"""Where the store has what somebody is yet to do."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of one seed. ``settled_at`` and ``calm_at`` are in virtual seconds."""

    plan: Plan
    faults: list[str]
    schedule: list[str]
    trace: list[str]
    counts: Counter[str] = field(default_factory=Counter)
    died_at: set[Spot] = field(default_factory=set)
    """Every await at which a crash has struck."""
    calm_at: float = 0.0
    settled_at: float = 0.0


Playing = Callable[[SimulatedLoop, Trace, VirtualTime, Outcome], Coroutine[Any, Any, None]]
"""Builds a world and plays it to its end."""


def outcome_of(plan: Plan, playing: Playing, *, is_traced: bool) -> Outcome:
    """What came of a plan, on a loop, in a time and with secrets that its seed decides."""
    loop = SimulatedLoop(random.Random(f"turns {plan.seed}"))
    trace = Trace(loop, is_kept=is_traced)
    outcome = Outcome(plan=plan, faults=[], schedule=trace.schedule, trace=trace.lines)
    with substituted(loop, random.Random(f"secrets {plan.seed}"), trace) as virtual:
        try:
            loop.run(playing(loop, trace, virtual, outcome))
        except Endless as error:
            outcome.faults.append(f"it does not end: {error}")
    outcome.faults += loop.broken_callbacks
    return outcome


class Simulator:
    """Runs seeds one after another."""

    def __init__(self) -> None:
        self._server = StoreServer()

    def run(self, seed: int, *, is_traced: bool = False, plan: Plan | None = None) -> Outcome:
        """The outcome of one seed, the same each time."""
        chosen = plan or draw(seed)
        self._server.empty()

        def playing(
            loop: SimulatedLoop, trace: Trace, virtual: VirtualTime, outcome: Outcome
        ) -> Coroutine[Any, Any, None]:
            return _Run(chosen, loop, trace, virtual, self._server, outcome).play()

        return outcome_of(chosen, playing, is_traced=is_traced)


class _Run:
    """The world of one seed."""

    def __init__(
        self,
        plan: Plan,
        loop: SimulatedLoop,
        trace: Trace,
        virtual: VirtualTime,
        server: StoreServer,
        outcome: Outcome,
    ) -> None:
        seed = plan.seed
        weather = Weather(plan, random.Random(f"weather {seed}"))
        network = Network(loop)
        customers = Customers(
            leases_may_end=plan.leases_may_end,
            most_unmarked={**UNMARKED, "smtp": UNMARKED["smtp"] * plan.sends_at_once},
        )
        price_list = PriceList(server, plan.products, random.Random(f"prices {seed}"), trace)
        self._outcome = outcome
        self._loop = loop
        self._around = Surroundings(
            plan=plan,
            network=network,
            weather=weather,
            trace=trace,
            time=virtual,
            store=SimulatedStore(server, network, weather, trace, customers, price_list),
            broker=SimulatedBroker(network, weather, trace, consumed(plan)),
            customers=customers,
            price_list=price_list,
            bank=Bank(network, weather, random.Random(f"bank {seed}"), plan.payments or 0.0),
        )
        self._supervisor = Supervisor(self._around, loop, random.Random(f"supervisor {seed}"))
        self._clients = Clients(self._supervisor.place, random.Random(f"clients {seed}"), trace)
        self._movers = Movers(
            self._supervisor.move, self._clients.ledger, random.Random(f"movers {seed}"), trace
        )
        self._faults = Faults(self._around, self._supervisor, self._movers, random.Random(f"faults {seed}"))
        self._watcher = Watcher(
            self._supervisor.dashboards, random.Random(f"watcher {seed}"), self._around.trace
        )
        self._sweeping = random.Random(f"sweeping {seed}")
        self._watching: asyncio.Task[None] | None = None
        self._wanted = wishes(plan, random.Random(f"wishes {seed}"))

    async def play(self) -> None:
        """From the first order to the judgement."""
        server = self._around.store.server
        for sku, pieces in self._around.plan.stock.items():
            server.carry_out("SET", keyspace.inventory(sku), pieces)
        server.carry_out("SET", keyspace.inventory(BROKEN_SKU), "1e3")
        self._around.price_list.publish()
        self._supervisor.start()
        placing = self._around.network.spawn(self._clients.run(self._wanted))
        if self._around.plan.is_watched:
            self._watching = self._around.network.spawn(self._watcher.run())
        await self._faults.run()
        if self._watching:  # for as long as little happens, to follow it costs more than all the rest
            self._watching.cancel()
        self._outcome.calm_at = self._loop.time()
        is_settled = await self._settles(placing)
        if is_settled and self._around.plan.dashboards:
            await self._redrive_all()
            is_settled = await self._settles(placing)
        self._outcome.settled_at = self._loop.time()
        if self._watching:
            await self._told_all()
        scene = await self._judge(is_settled)
        if self._around.plan.is_swept and not self._outcome.faults:
            await self._age(scene)

    async def _age(self, scene: Scene) -> None:
        before = stock_of(scene)
        self._supervisor.dismiss_all()
        await sweep_all(self._around, self._supervisor, self._sweeping)
        self._outcome.faults += [*self._supervisor.faults, *faults_after_sweep(scene, before)]

    async def _told_all(self) -> None:
        """Who watches comes back, and is told the rest."""
        watching = self._around.network.spawn(self._watcher.run())
        log = self._log()
        for _ in range(LOOKS_AT_WATCHER):
            if not log or self._watcher.has_seen(log[-1]):
                break
            await asyncio.sleep(POLL_SECONDS)
        watching.cancel()

    async def _redrive_all(self) -> None:
        """Once all is well the operator sends everything back, and it arrives."""
        is_over = False
        while not is_over:
            await asyncio.sleep(POLL_SECONDS)
            for process, dashboard in self._supervisor.dashboards()[:1]:
                errand = process.start(dashboard.redrive(None))
                await asyncio.wait({errand}, timeout=ERRAND_SECONDS)  # it may have been told to stop
                is_over = errand.done() and _is_over(errand)

    async def _settles(self, placing: "asyncio.Task[None]") -> bool:
        while self._loop.time() < self._outcome.calm_at + CALM_SECONDS:
            if placing.done() and self._is_still():
                return True
            await asyncio.sleep(POLL_SECONDS)
        return False

    def _is_still(self) -> bool:
        around = self._around
        if around.network.under_way or not around.broker.is_idle(consumed(around.plan)):
            return False
        server = around.store.server
        return not any(server.carry_out("ZCARD", outbox) for outbox in WAITING)

    def _log(self) -> list[str]:
        """The ids of the steps of orders."""
        found = self._around.store.server.carry_out("XRANGE", keyspace.LOG, "-", "+")
        return [str(log_id) for log_id, _ in found]

    async def _judge(self, is_settled: bool) -> Scene:
        outcome, around = self._outcome, self._around
        if not is_settled:
            outcome.faults.append(f"not settled {CALM_SECONDS:.0f} s after the last fault")
        dead = {
            each.dead_queue: [
                letter.body for letter in await messages_in(around.broker.queues, each.dead_queue)
            ]
            for each in consumed(around.plan)
        }
        scene = Scene(
            around=around,
            ledger=self._clients.ledger,
            movers=self._movers,
            dead_letters=dead,
            poisoned=self._faults.poisoned,
        )
        found, verdict = faults_at(scene)
        outcome.faults += [*self._supervisor.faults, *found]
        outcome.faults += self._watcher.misses(self._log())
        outcome.counts["told"] = len(self._watcher.seen)
        self._supervisor.faults.clear()
        arrivals = around.customers.arrivals.values()
        outcome.counts.update(
            orders=verdict.orders,
            created=verdict.created,
            rejected=verdict.rejected,
            cancelled=verdict.cancelled,
            moved=sum(map(len, self._movers.moved.values())),
            dead=len(verdict.dead),
            undelivered=len(verdict.undelivered),
            declined=verdict.declined,
            acknowledged=len(self._clients.ledger.acknowledged),
            deaths=self._supervisor.deaths,
            extra_notifications=sum(len(each) - 1 for each in arrivals),
            poison=len(self._faults.poisoned),
            dropped=len(around.dropped),
        )
        outcome.died_at = self._supervisor.died_at
        if self._around.plan.repaired_at is not None and verdict.dead:
            outcome.faults.append(f"{verdict.dead} were sent back, and are dead though all is repaired")
        return scene


def _is_over(errand: "asyncio.Task[Tally]") -> bool:
    try:
        tally = errand.result()
    except DependencyUnavailable:
        return False
    return tally.fault is None and tally.complete
