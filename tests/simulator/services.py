"""The pipeline's processes, built from their real parts as each service's ``main`` does."""

import asyncio
import random
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, Final, Protocol

from api_gateway.announcing import AnnouncedMoves
from api_gateway.due import DueOrders
from api_gateway.intake import OrderIntake
from api_gateway.preferences import RedisPreferences
from api_gateway.relay import OutboxRemovals, Relay, RelayTimes
from notifier.domain import TOLD
from notifier.handlers import NotificationHandler
from notifier.quota import RedisLetterQuota
from notifier.senders.addressed import AddressedSender
from notifier.store import RedisNotificationStore
from notifier.unconfirmed import UnconfirmedLetters
from order_processor.handlers import OrderPlacedHandler
from order_processor.payments import Payments
from shared import keyspace
from shared.breaker import Breaker
from shared.keyspace import Channel
from shared.messages import Event, EventData, OrderPlaced, OrderProcessing
from shared.messaging.batching import GatheringPublisher
from shared.messaging.consumer import consumer
from shared.messaging.handlers import BatchHandler, Incoming
from shared.messaging.retry import Outcome
from shared.messaging.router import Consuming, Router
from shared.messaging.settlement import FailureListener
from shared.orders.moves import Move, MoveResult
from shared.orders.placement import Placement, PlacementResult
from shared.orders.redis.decisions import RedisDecisionStore
from shared.orders.redis.moves import RedisMoves
from shared.orders.redis.payments import RedisPayments
from shared.orders.redis.schedule import RedisSchedule
from shared.orders.redis.store import RedisOrderStore, RedisOutbox
from shared.pipeline import CONSUMPTIONS, NOTIFIER, ORDER_PROCESSOR, Consumption
from shared.redis.inbox import RedisInbox, RedisTransaction
from shared.redis.lease import Lease
from shared.service import worker
from shared.service.lifecycle import drained, running
from shared.service.program import program_of
from shared.settings import EVENTS_PER_MESSAGE, CommonSettings
from tests.harness.routing import CountingMetrics
from tests.simulator.bank import Bank
from tests.simulator.broker import PUBLISH_SECONDS, SimulatedBroker, SimulatedPublisher, SimulatedSubscriber
from tests.simulator.customers import (
    ANSWER_SECONDS,
    CONFIRM_SECONDS,
    HOUR_SECONDS,
    LEASE_SECONDS,
    Customers,
    SimulatedLog,
    SimulatedMail,
)
from tests.simulator.network import Network
from tests.simulator.pricing import PriceList
from tests.simulator.processes import Process
from tests.simulator.store import SimulatedStore
from tests.simulator.substitutes import VirtualTime
from tests.simulator.trace import Trace
from tests.simulator.weather import Plan, Weather

STORE_SECONDS: Final = 1.0
PAYMENT_SECONDS: Final = 5.0
DRAIN_SECONDS: Final = 5.0
DAY_SECONDS: Final = 86_400
RETENTION_DAYS: Final = 30
RELAY_PAUSE_SECONDS: Final = 1.0
SIMULATED: Final = (ORDER_PROCESSOR, NOTIFIER)
"""The consumers whose surroundings are simulated too: their stock, their customers."""
CONSUMED: Final = tuple(each for each in CONSUMPTIONS if not each.needs_database)
"""What is consumed here. Databases are not simulated; what is sent to those consumers is left alone."""
COUNTER: Final = replace(NOTIFIER, service="counter", work="count", queues="counter", settings="COUNTER")
"""A consumer with an inbox that counts events, where the plan has one: a row more of the map."""
COUNTED: Final = "counted"
UNCONFIRMED_AT_ONCE: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every process of one simulation meets outside of itself."""

    plan: Plan
    network: Network
    weather: Weather
    trace: Trace
    time: VirtualTime
    store: SimulatedStore
    broker: SimulatedBroker
    customers: Customers
    price_list: PriceList
    bank: Bank
    dropped: set[tuple[str, bytes]] = field(default_factory=set)
    """Letters that the operator gave up, by dead-letter queue and body."""


class Service(Protocol):
    """What runs in a process."""

    async def run(self, stop: asyncio.Event) -> None:
        """Works until ``stop`` is set, then finishes what it has begun."""


class Gateway:
    """The gateway behind its HTTP port: intake, relay, and the removals from the outbox."""

    def __init__(self, around: Surroundings, process: Process, random_: random.Random) -> None:
        redis, plan = around.store.client(), around.plan
        store = RedisOrderStore(
            redis,
            timeout_seconds=STORE_SECONDS,
            claim_ttl_seconds=DAY_SECONDS,
            outbox_limit=plan.outbox_limit,
        )
        outbox = RedisOutbox(redis, timeout_seconds=STORE_SECONDS)
        to_broker = SimulatedPublisher(around.broker)
        publisher = GatheringPublisher(
            to_broker, timeout_seconds=PUBLISH_SECONDS, events_per_message=_events_per_message(plan, random_)
        )
        breaker = Breaker(known_down=to_broker.is_known_down, clock=around.time.monotonic)
        self._requests = 0
        self._removals = OutboxRemovals(outbox)
        self._intake = OrderIntake(
            store=store,
            publisher=publisher,
            confirmed=self._removals,
            breaker=breaker,
            store_is_durable=lambda: plan.is_durable,
        )
        self._relay = Relay(
            store=store,
            outbox=outbox,
            lease=Lease(redis, keyspace.OUTBOX_LEASE, timeout_seconds=STORE_SECONDS),
            publisher=publisher,
            breaker=breaker,
            times=RelayTimes(minimum_age=2 * PUBLISH_SECONDS, pause=RELAY_PAUSE_SECONDS),
        )
        self._orders = store
        self._moves = AnnouncedMoves(
            RedisMoves(redis, timeout_seconds=STORE_SECONDS),
            store,
            publisher,
            Lease(redis, keyspace.MOVES_LEASE, timeout_seconds=STORE_SECONDS),
        )
        self._preferences = RedisPreferences(redis, timeout_seconds=STORE_SECONDS)
        self._announces = "move" in plan.pauses or plan.payments is not None
        schedule = RedisSchedule(redis, timeout_seconds=STORE_SECONDS)
        self._due = DueOrders(schedule, self._relay, breaker.would_try) if plan.schedules else None
        self._stop: asyncio.Event | None = None

    @property
    def is_open(self) -> bool:
        """Whether it takes orders."""
        return self._stop is not None and not self._stop.is_set()

    async def place(self, placement: Placement) -> PlacementResult:
        """One request. Raises as the intake does."""
        self._requests += 1
        try:
            return await self._intake.place(placement)
        finally:
            self._requests -= 1

    async def move(self, order_id: str, move: Move) -> MoveResult | None:
        """One request; None where there is no such order. Raises StoreUnavailable."""
        self._requests += 1
        try:
            record = await self._orders.get(order_id)
            return None if record is None else await self._moves.move(record, move)
        finally:
            self._requests -= 1

    async def choose(self, customer: str, declined: Collection[Channel]) -> None:
        """One request. Raises StoreUnavailable."""
        self._requests += 1
        try:
            await self._preferences.decline(customer, declined)
        finally:
            self._requests -= 1

    async def run(self, stop: asyncio.Event) -> None:
        """See Service. Where nothing is moved nothing is announced, and other seeds are what they were."""
        self._stop = stop
        announcing = (self._moves.run(),) if self._announces else ()
        beginning = (self._due.run(),) if self._due else ()
        async with running(self._removals.run(), self._relay.run(), *announcing, *beginning):
            await stop.wait()
            await drained(self._answered(), stop, DRAIN_SECONDS)
            await drained(self._removals.flush(), stop, STORE_SECONDS)

    async def _answered(self) -> None:
        while self._requests:  # noqa: ASYNC110 - one poll a drain; an event would need a twin for the count
            await asyncio.sleep(0.05)


class Worker:
    """A service that consumes one queue."""

    def __init__(
        self,
        around: Surroundings,
        process: Process,
        random_: random.Random,
        consumption: Consumption,
        handlers: Mapping[type[EventData], BatchHandler],
        failures: FailureListener | None,
        jobs: Sequence[Callable[[], Coroutine[Any, Any, None]]] = (),
    ) -> None:
        weather = around.weather
        self._jobs = jobs
        self._router = Router(
            Consuming(
                consumption=consumption,
                handlers={kind: FlakyHandler(handler, weather) for kind, handler in handlers.items()},
                prefetch=around.plan.prefetch,
                batch_limit=around.plan.batch_limit,
                events_per_message=_events_per_message(around.plan, random_),
            ),
            publisher=SimulatedPublisher(around.broker),
            subscriber=SimulatedSubscriber(around.broker, process),
            failures=failures,
            metrics=CountingMetrics(),
            clock=around.time.time,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """See Service."""
        async with running(*(job() for job in self._jobs)):
            await drained(self._router.run(stop), stop, DRAIN_SECONDS)


def _events_per_message(plan: Plan, random_: random.Random) -> int:
    return plan.events_per_message or random_.choice((1, 2, EVENTS_PER_MESSAGE))


@dataclass(frozen=True, slots=True)
class FlakyHandler:
    """The handler, with faults of its own: it raises now and then, before or after its work is done."""

    handler: BatchHandler
    weather: Weather

    async def __call__(self, batch: Sequence[Incoming]) -> Sequence[Outcome]:
        """See BatchHandler."""
        if self.weather.happens("handler_fails"):
            raise RuntimeError("failed before its work")
        outcomes = await self.handler(batch)
        if self.weather.happens("handler_fails"):
            raise RuntimeError("failed after its work")
        return outcomes


def processor(around: Surroundings, process: Process, random_: random.Random) -> Worker:
    """The order processor, without its sweep, see aging."""
    redis, is_paid = around.store.client(), around.plan.payments is not None
    store = RedisDecisionStore(
        redis,
        timeout_seconds=STORE_SECONDS,
        oldest_recreated_seconds=RETENTION_DAYS * DAY_SECONDS / 2,
        asks_payment=is_paid,
    )
    payments = Payments(
        RedisPayments(redis, timeout_seconds=STORE_SECONDS),
        RedisMoves(redis, timeout_seconds=STORE_SECONDS),
        around.bank,
        Lease(redis, keyspace.PAYMENTS_LEASE, timeout_seconds=STORE_SECONDS),
        timeout_seconds=PAYMENT_SECONDS,
    )
    handlers: dict[type[EventData], BatchHandler] = {OrderPlaced: OrderPlacedHandler(store)}
    jobs = (payments.run,) if is_paid else ()
    return Worker(around, process, random_, ORDER_PROCESSOR, handlers, store, jobs)


def notifier(around: Surroundings, process: Process, random_: random.Random) -> Worker:
    """The notifier, with a way to the customers that is not always open."""
    store = RedisNotificationStore(
        around.store.client(),
        timeout_seconds=STORE_SECONDS,
        lease_seconds=LEASE_SECONDS,
        confirm_seconds=CONFIRM_SECONDS,
        retention_seconds=RETENTION_DAYS * DAY_SECONDS,
    )
    handler = NotificationHandler(
        store=store,
        sender=AddressedSender(
            SimulatedMail(around.customers, process, around.weather, around.trace),
            otherwise=SimulatedLog(around.customers, process, around.weather, around.trace),
        ),
        unconfirmed=UnconfirmedLetters(store, limit=UNCONFIRMED_AT_ONCE),
        lease_seconds=LEASE_SECONDS,
        answer_seconds=ANSWER_SECONDS,
        quota=RedisLetterQuota(
            around.store.client(),
            per_hour=around.plan.letters_per_hour,
            timeout_seconds=STORE_SECONDS,
            hour_seconds=HOUR_SECONDS,
        ),
        sends_at_once=around.plan.sends_at_once,
    )
    handlers: dict[type[EventData], BatchHandler] = dict.fromkeys(TOLD, handler)
    return Worker(around, process, random_, NOTIFIER, handlers, store)


def consumed(plan: Plan) -> Sequence[Consumption]:
    """The rows of the map that have consumers in this simulation."""
    return (*CONSUMED, COUNTER) if plan.counters else CONSUMED


@consumer(COUNTER.service, events=[*TOLD, OrderProcessing])
async def counts(event: Event[EventData], transaction: RedisTransaction) -> None:
    """Counts every event; that each is counted once is the inbox's doing."""
    transaction.write("HINCRBY", COUNTED, event.id, 1)


def counter(around: Surroundings, process: Process, random_: random.Random) -> Worker:
    """A consumer that is one function, which asks for a transaction."""
    inbox = RedisInbox(
        around.store.client(),
        COUNTER.service,
        retention_seconds=RETENTION_DAYS * DAY_SECONDS,
        timeout_seconds=STORE_SECONDS,
    )
    handlers = dict.fromkeys(counts.events, counts.handler(inbox))
    return Worker(around, process, random_, COUNTER, handlers, None)


def other(consumption: Consumption) -> Callable[[Surroundings, Process, random.Random], Worker]:
    """Any other row of the map, built by its own main."""
    main: Any = import_module(f"{consumption.service}.main")
    settings = program_of(consumption.service).settings

    def build(around: Surroundings, process: Process, random_: random.Random) -> Worker:
        own = worker.Worker(common=CommonSettings(), own=settings(), redis=around.store.client())
        use_cases: worker.UseCases = main.use_cases(own)
        return Worker(around, process, random_, consumption, use_cases.handlers, use_cases.failures)

    return build
