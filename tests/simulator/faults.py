"""The faults that come by themselves, each kind at its own pace, until they are stopped."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from dashboard.dead_letters.letter import DEAD_QUEUES
from shared import keyspace
from shared.errors import DependencyUnavailable
from shared.messages import join
from shared.messaging.ports import OutgoingMessage
from shared.pipeline import ORDER_PROCESSOR
from tests.simulator.choosing import Choosers
from tests.simulator.moving import Movers
from tests.simulator.processes import Process, Trap
from tests.simulator.services import CONSUMED, Surroundings
from tests.simulator.store import REFUSABLE, Condition
from tests.simulator.supervision import Place, Supervisor
from tests.simulator.weather import BROKEN_SKU, REPAIRED_PIECES

MOST_STEPS_TO_DEATH: Final = 80
"""A process dies within so many of its callbacks, so that every await comes up."""
REQUESTS: Final[Mapping[str, Sequence[str]]] = {
    "gateway": (keyspace.OUTBOX, keyspace.order(""), keyspace.claim(""), "order.", keyspace.MOVES),
    "processor": (keyspace.order(""), "orders.retry", "orders.dead", "order."),
    "notifier": (keyspace.notification_claim(""), "notifier.retry", "notifier.dead"),
    "dashboard": (
        keyspace.DEAD_LETTERS_LEASE,
        keyspace.order(""),
        "orders.queue",
        "notifier.queue",
        "order.",
    ),
}
"""What a process may die of, by its job: how the key or the routing key of a request begins."""
ANY_REQUEST: Final = ("",)
DROPS: Final = 0.2
"""How often the operator gives letters up instead of sending them back."""
DEATHS_AT_WORK: Final = 0.5
"""How often a dashboard dies of what it was asked to do; by chance alone it would be idle when it dies."""
POISON: Final = (
    b"",
    b"{",
    b'{"type":"order.placed.v1"}',
    b'{"type":"order.created.v1","id":1}',
    b"\xff",
    b"[]",
    b"[{]",
)
UNKNOWN: Final = b'{"type":"order.seen.v9"}'
"""Acked and counted, wherever it stands."""


class Faults:
    """Breaks things in one simulation."""

    def __init__(
        self, around: Surroundings, supervisor: Supervisor, movers: Movers, dice: random.Random
    ) -> None:
        self.poisoned: list[tuple[str, bytes]] = []
        """What was put where, as dead-letter queue and body."""
        self._around = around
        self._supervisor = supervisor
        self._dice = dice
        choosers = Choosers(supervisor.choose, random.Random(f"choosers {around.plan.seed}"), around.trace)
        self._kinds: Mapping[str, Callable[[], Awaitable[None]]] = {
            "crash": self._crash,
            "stall": self._stall,
            "drain": self._drain,
            "connection": self._cut_connection,
            "broker": self._broker,
            "store_away": lambda: self._store(Condition.AWAY),
            "store_frozen": lambda: self._store(Condition.FROZEN),
            "store_full": lambda: self._store(Condition.FULL),
            "store_refuses": lambda: self._store(Condition.REFUSING, self._dice.choice(REFUSABLE)),
            "mail": self._mail,
            "poison": self._poison,
            "given_up": self._given_up,
            "operator": self._operator,
            "price": self._around.price_list.change,
            "move": movers.move,
            "choice": choosers.choose,
        }

    async def run(self) -> None:
        """Breaks things for as long as the plan says; when it returns, all is well and stays so."""
        plan = self._around.plan
        breaking = [
            self._around.network.spawn(self._repeat(kind, mean)) for kind, mean in plan.pauses.items()
        ]
        if plan.repaired_at is not None:
            self._around.network.spawn(self._repair(plan.repaired_at))
        await asyncio.sleep(plan.seconds)
        for task in breaking:
            task.cancel()
        self._around.weather.clear_up()
        self._around.broker.queues.come_back()
        self._around.store.become(Condition.WELL)
        self._around.customers.is_away = False
        for place in self._supervisor.places:
            place.process.dies_after = place.process.trap = None
            place.process.resume()
        self._around.trace.fault("no more faults")

    async def _repeat(self, kind: str, mean_seconds: float) -> None:
        while True:
            await asyncio.sleep(self._dice.expovariate(1 / mean_seconds))
            await self._kinds[kind]()

    def _victim(self) -> Place:
        return self._dice.choice(self._supervisor.places)

    async def _crash(self) -> None:
        process = self._victim().process
        if self._dice.random() < 0.5:
            process.dies_after = self._dice.randint(1, MOST_STEPS_TO_DEATH)
            self._around.trace.fault(f"{process.name} will die after {process.dies_after} steps")
        else:
            self._set_trap(process)

    def _set_trap(self, process: Process) -> None:
        requests = next((REQUESTS[job] for job in REQUESTS if process.name.startswith(job)), ANY_REQUEST)
        process.trap = Trap(request=self._dice.choice(requests), steps=self._dice.randint(1, 20))
        self._around.trace.fault(f"{process.name} will die of {process.trap}")

    async def _stall(self) -> None:
        process, seconds = self._victim().process, self._dice.uniform(0.5, 20.0)
        self._around.trace.fault(f"{process.name} stalls for {seconds:.1f} s")
        process.stall()
        await asyncio.sleep(seconds)
        process.resume()

    async def _drain(self) -> None:
        place = self._victim()
        self._around.trace.fault(f"{place.process.name} is asked to stop")
        place.stop.set()

    async def _cut_connection(self) -> None:
        sessions = self._around.broker.sessions
        if sessions:
            session = self._dice.choice(sessions)
            self._around.trace.fault(f"a consumer of {session.queue} loses its connection")
            session.close()

    async def _broker(self) -> None:
        self._around.trace.fault("the broker is down")
        self._around.broker.queues.go_down()
        await self._pause()
        self._around.broker.queues.come_back()
        self._around.trace.fault("the broker is back")

    async def _store(self, condition: Condition, refused: str | None = None) -> None:
        self._around.trace.fault(f"the store is {condition.name.lower()} {refused or ''}")
        self._around.store.become(condition, refused)
        await self._pause()
        self._around.store.become(Condition.WELL)
        self._around.trace.fault("the store is well")

    async def _mail(self) -> None:
        self._around.trace.fault("the mail server is away")
        self._around.customers.is_away = True
        await self._pause()
        self._around.customers.is_away = False

    async def _poison(self) -> None:
        consumption, body = self._dice.choice(CONSUMED), self._dice.choice(POISON)
        if self._around.broker.queues.unready_reason() is None:
            self.poisoned.append((consumption.dead_queue, body))
            is_json = body[:1] == b"{" and body[-1:] == b"}"
            if is_json and self._dice.random() < 0.5:
                body = join(self._dice.sample((UNKNOWN, body, UNKNOWN), 3))
            await self._put(consumption.queue, body)

    async def _given_up(self) -> None:
        """The broker moves what waits for a decision to the dead letters by itself, batches as they are."""
        if self._around.plan.dashboards and self._around.broker.queues.give_up(ORDER_PROCESSOR.queue):
            self._around.trace.fault(f"the broker gives up what waits in {ORDER_PROCESSOR.queue}")

    async def _put(self, queue: str, body: bytes) -> None:
        message = OutgoingMessage(exchange="", routing_key=queue, body=body)
        await self._around.broker.queues.publish(message)

    async def _operator(self) -> None:
        if not (dashboards := self._supervisor.dashboards()):
            return
        process, dashboard = self._dice.choice(dashboards)
        limit = self._dice.choice((None, None, 1, 2))
        queues = self._dice.sample(DEAD_QUEUES, self._dice.randint(1, len(DEAD_QUEUES)))
        act = dashboard.drop if self._dice.random() < DROPS else dashboard.redrive
        self._around.trace.fault(f"{process.name} is to {act.__name__} {limit or 'all'} of {queues}")
        if "crash" in self._around.plan.pauses and self._dice.random() < DEATHS_AT_WORK:
            self._set_trap(process)
        process.start(self._note_outage(lambda: act(limit, queues)))

    async def _note_outage(self, errand: Callable[[], Awaitable[object]]) -> None:
        try:
            await errand()
        except DependencyUnavailable as error:
            self._around.trace.note(f"the operator is told: {error}")
        except Exception as error:  # noqa: BLE001 - what the HTTP layer would answer 500 to
            self._supervisor.faults.append(f"500 for the operator: {error!r}")

    async def _repair(self, at: float) -> None:
        await asyncio.sleep(at)
        self._around.trace.fault(f"{BROKEN_SKU} is repaired")
        self._around.store.server.carry_out("SET", keyspace.inventory(BROKEN_SKU), REPAIRED_PIECES)

    async def _pause(self) -> None:
        await asyncio.sleep(self._dice.choice((0.1, 1.0, 3.0, 8.0)) * self._dice.random())
