"""A router over the in-memory broker, with everything around it under the test's control."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from shared.errors import BrokerUnavailable, StoreUnavailable
from shared.messages import Event, EventData, OrderPlaced, decode, split
from shared.messaging.handlers import BatchHandler, Incoming
from shared.messaging.memory import MemoryBroker
from shared.messaging.ports import Delivery, OutgoingMessage, Publisher, Subscriber
from shared.messaging.retry import Bury, Done, Outcome, Wait
from shared.messaging.router import Consuming, Router
from shared.messaging.settlement import FailureListener, message_of
from shared.pipeline import ORDER_PROCESSOR, Consumption
from tests.harness.examples import AT, an_order, placed
from tests.harness.waiting import wait_until

ROUTER_SECONDS = 20.0
"""How long a router under test may take to stop before the test fails."""


@dataclass(slots=True)
class CountingMetrics:
    """The router's metrics as plain figures."""

    outcomes: Counter[str] = field(default_factory=Counter)
    batches: list[int] = field(default_factory=list)
    repeated: int = 0

    def settled(self, outcome: str, count: int) -> None:
        self.outcomes[outcome] += count

    def redelivered(self, count: int) -> None:
        self.repeated += count

    def batch(self, size: int, seconds: float, trace_id: str | None = None) -> None:
        self.batches.append(size)


@dataclass(slots=True)
class Failures:
    """A listener that remembers what it was told, and may be away at first."""

    told: list[tuple[str, Wait | Bury]] = field(default_factory=list)
    away_times: int = 0

    async def waits(self, event: Event[Any], fate: Wait) -> None:
        self._tell(event, fate)

    async def buried(self, event: Event[Any], fate: Bury) -> None:
        self._tell(event, fate)

    def _tell(self, event: Event[Any], fate: Wait | Bury) -> None:
        if self.away_times > 0:
            self.away_times -= 1
            raise StoreUnavailable("the store is away")
        self.told.append((event.subject, fate))


@dataclass(slots=True)
class Handler:
    """Notes every batch of order ids and gives each order the outcome that ``decide`` names."""

    decide: Callable[[Incoming], Outcome] = lambda _: Done()
    batches: list[list[str]] = field(default_factory=list)

    async def __call__(self, batch: Sequence[Incoming]) -> Sequence[Outcome]:
        """See BatchHandler."""
        self.batches.append([incoming.event.subject for incoming in batch])
        return [self.decide(incoming) for incoming in batch]

    @property
    def handled(self) -> list[str]:
        """Every order id, in the order in which they were handled."""
        return [order_id for batch in self.batches for order_id in batch]


class InterruptiblePublisher:
    """A publisher whose side of the broker can go away while consuming goes on."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self.away = False
        self.refused = 0
        self.published: list[OutgoingMessage] = []

    async def publish(self, message: OutgoingMessage) -> None:
        if self.away:
            self.refused += 1
            raise BrokerUnavailable("no confirm in time")
        await self._broker.publish(message)
        self.published.append(message)

    def event_ids(self) -> list[str]:
        """The ids of the published events, retries and dead letters left out."""
        bodies = [body for message in self.published if message.exchange for body in split(message.body)]
        return [event_of(body).id for body in bodies]


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """A router that runs, and what can be seen of it."""

    router: Router
    metrics: CountingMetrics
    failures: Failures
    stop: asyncio.Event
    task: "asyncio.Task[None]"

    async def end(self) -> None:
        """Asks it to stop and waits until it has."""
        self.stop.set()
        async with asyncio.timeout(ROUTER_SECONDS):
            await self.task


@asynccontextmanager
async def routing(
    broker: MemoryBroker,
    handler: BatchHandler,
    *,
    publisher: Publisher | None = None,
    subscriber: Subscriber | None = None,
    consumption: Consumption = ORDER_PROCESSOR,
    kind: type[EventData] = OrderPlaced,
    failures: Failures | None = None,
    listener: FailureListener | None = None,
    batch_limit: int = 100,
    prefetch: int = 200,
    events_per_message: int = 64,
) -> AsyncIterator[Routing]:
    """Runs a router for the block; leaving it cancels what has not ended."""
    metrics, stop, failures = CountingMetrics(), asyncio.Event(), failures or Failures()
    router = Router(
        Consuming(
            consumption=consumption,
            handlers={kind: handler},
            prefetch=prefetch,
            batch_limit=batch_limit,
            events_per_message=events_per_message,
        ),
        publisher=publisher or broker,
        subscriber=subscriber or broker,
        failures=listener or failures,
        metrics=metrics,
        clock=lambda: AT / 1_000_000,
    )
    task = asyncio.create_task(router.run(stop))
    try:
        yield Routing(router=router, metrics=metrics, failures=failures, stop=stop, task=task)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def event_of(body: bytes) -> Event[EventData]:
    """The event in a message that is known to hold one."""
    event = decode(body)
    assert isinstance(event, Event)
    return event


async def messages_in(broker: MemoryBroker, queue: str) -> list[Delivery]:
    """Everything that waits in a queue, taken out of it."""
    taken: list[Delivery] = []
    async with broker.subscribe(queue, prefetch=10_000) as subscription:
        await subscription.cancel()
        while batch := await subscription.receive(10_000):
            taken += batch
        if taken:
            await subscription.ack(taken[-1])
    return taken


async def put(broker: MemoryBroker, *order_ids: str) -> None:
    """Places orders with these ids."""
    for order_id in order_ids:
        await broker.publish(message_of(placed(an_order(order_id))))


async def put_body(broker: MemoryBroker, body: bytes) -> None:
    """Places something that need not be an order."""
    await broker.publish(OutgoingMessage(exchange="orders.direct", routing_key="order.placed", body=body))


async def spend_deliveries(broker: MemoryBroker, count: int, queue: str = ORDER_PROCESSOR.queue) -> None:
    """Takes everything ``count`` times without an ack, as a consumer that crashes would."""
    for _ in range(count):
        async with broker.subscribe(queue, prefetch=1000) as subscription:
            await subscription.receive(1000)


async def settled(broker: MemoryBroker, queue: str = ORDER_PROCESSOR.queue) -> None:
    """Waits until nothing is ready or unacked."""
    await wait_until(
        lambda: broker.depth(queue) + broker.unacked(queue) == 0, what=f"everything in {queue} to be settled"
    )
