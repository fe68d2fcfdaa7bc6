"""The broker port over the in-memory broker, behind wires: late, doubled, shuffled, and cut off in between.

Every message that a queue took may come again, up to five times in all and out of turn, as if whoever
published it had not got its confirm. Nothing that was confirmed is ever lost: that is the cluster's
promise, not ours.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from shared.errors import BrokerUnavailable, SubscriptionLost
from shared.messages import Event, decode_all, split
from shared.messaging.memory import MemoryBroker, MemorySubscription
from shared.messaging.ports import Delivery, OutgoingMessage, Subscription
from shared.pipeline import CONSUMPTIONS, RETRY_TIERS_SECONDS, Consumption
from tests.simulator.network import Network
from tests.simulator.processes import Process, current
from tests.simulator.trace import Trace
from tests.simulator.weather import Weather

PUBLISH_SECONDS: Final = 2.0
COPY_SECONDS: Final = 20.0
"""A copy comes so much later at most."""
UNNOTICED_SECONDS: Final = 2.0
"""For so long at most the broker takes a consumer that died for one that is slow."""


class SimulatedBroker:
    """The broker's side of the wire in one simulation."""

    def __init__(
        self,
        network: Network,
        weather: Weather,
        trace: Trace,
        consumptions: Sequence[Consumption] = CONSUMPTIONS,
    ) -> None:
        self.queues = MemoryBroker(consumptions)
        self.sessions: list[Session] = []
        self.bodies: defaultdict[str, set[bytes]] = defaultdict(set)
        """What was published on the exchanges, by event id: the same bytes each time, if all is well."""
        self.network = network
        self.weather = weather
        self.trace = trace

    def is_idle(self, consumptions: Sequence[Consumption]) -> bool:
        """Whether no message of theirs is left but dead letters, and nobody looks at those."""
        if any(self.queues.unacked(consumption.dead_queue) for consumption in consumptions):
            return False
        names = [
            name
            for consumption in consumptions
            for name in (consumption.queue, *map(consumption.retry_queue, RETRY_TIERS_SECONDS))
        ]
        return not any(self.queues.depth(name) or self.queues.unacked(name) for name in names)

    async def take(self, message: OutgoingMessage) -> None:
        """A message has arrived. Raises BrokerUnavailable."""
        await self.queues.publish(message)
        self._note(message)
        for _ in range(self.weather.copies() - 1):
            self.network.under_way += 1
            self.network.spawn(self._take_again(message))

    async def _take_again(self, message: OutgoingMessage) -> None:
        try:
            await asyncio.sleep(self.weather.dice.random() * COPY_SECONDS)
            await self.queues.publish(message)
            self._note(message)
        except BrokerUnavailable:
            return  # then it does not come again
        finally:
            self.network.under_way -= 1

    def _note(self, message: OutgoingMessage) -> None:
        events = decode_all(message.body) if message.exchange else ()
        names = [event.id for event in events if isinstance(event, Event)]
        for name, body in zip(names, split(message.body), strict=False):
            self.bodies[name].add(body)
        self.trace.note(f"broker: {message.exchange}/{message.routing_key} has {' '.join(names)}")


class SimulatedPublisher:
    """One process's way to publish."""

    def __init__(self, broker: SimulatedBroker) -> None:
        self._broker = broker

    async def publish(self, message: OutgoingMessage) -> None:
        """See the port."""
        if self.is_known_down():
            raise BrokerUnavailable("not connected")
        passage = self._broker.weather.to_broker()
        self._broker.trace.note(f"publish -> {message.routing_key} {passage.cut.name.lower()}")
        _tell(message.routing_key)
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                await self._broker.network.ask(
                    lambda: self._broker.take(message), passage, lambda: BrokerUnavailable("connection lost")
                )
        except TimeoutError as error:
            raise BrokerUnavailable("no confirm in time") from error

    def is_known_down(self) -> bool:
        """Whether there is nobody to ask."""
        return self._broker.queues.unready_reason() is not None


def _tell(request: str) -> None:
    process = current()
    if process is not None:
        process.asks(request)


class SimulatedSubscriber:
    """One process's way to consume."""

    def __init__(self, broker: SimulatedBroker, process: Process) -> None:
        self._broker = broker
        self._process = process

    @asynccontextmanager
    async def subscribe(self, queue: str, *, prefetch: int) -> AsyncIterator[Subscription]:
        """See the port."""
        session = Session(self._broker, queue, prefetch)
        self._process.on_death(session.die_unnoticed)
        passage = self._broker.weather.to_broker()
        try:
            await self._broker.network.ask(session.open, passage, lambda: SubscriptionLost("connection lost"))
            yield session
        finally:
            session.close()


class Session:
    """A consumer on its connection, which the broker keeps until it is told or finds out that it is gone."""

    def __init__(self, broker: SimulatedBroker, queue: str, prefetch: int) -> None:
        self.queue = queue
        self._broker = broker
        self._prefetch = prefetch
        self._inner: MemorySubscription | None = None
        self._closed = asyncio.Event()

    async def open(self) -> None:
        """Begins at the broker, even if nobody waits for it any more. Raises SubscriptionLost."""
        opened: asyncio.Future[MemorySubscription] = asyncio.get_running_loop().create_future()
        self._broker.network.spawn(self._serve(opened))
        self._inner = await opened

    def close(self) -> None:
        """Ends it at the broker; what was not acked is delivered again."""
        self._closed.set()

    def die_unnoticed(self) -> None:
        """The consumer's process is gone, which the broker finds out in a while."""
        self._broker.network.spawn(self._die_unnoticed())

    async def receive(self, limit: int) -> Sequence[Delivery]:
        """See the port."""
        await asyncio.sleep(self._broker.weather.way())
        deliveries = await self._live().receive(limit)
        self._broker.trace.note(f"received {len(deliveries)} from {self.queue}")
        return deliveries

    async def ack(self, delivery: Delivery) -> None:
        """See the port. What it says is carried out even if whoever says it dies meanwhile."""
        self._broker.trace.note(f"ack {delivery.tag} on {self.queue}")
        passage = self._broker.weather.in_order()
        await self._broker.network.ask(
            lambda: self._live().ack(delivery), passage, lambda: SubscriptionLost("connection lost")
        )

    async def ack_alone(self, delivery: Delivery) -> None:
        """See LetterSubscription."""
        self._broker.trace.note(f"ack {delivery.tag} alone on {self.queue}")
        passage = self._broker.weather.in_order()
        await self._broker.network.ask(
            lambda: self._live().ack_alone(delivery), passage, lambda: SubscriptionLost("connection lost")
        )

    async def cancel(self) -> None:
        """See the port."""
        await self._live().cancel()

    def _live(self) -> MemorySubscription:
        if self._inner is None:
            raise SubscriptionLost("not open")
        return self._inner

    async def _serve(self, opened: "asyncio.Future[MemorySubscription]") -> None:
        try:
            async with self._broker.queues.subscribe(self.queue, prefetch=self._prefetch) as subscription:
                self._broker.sessions.append(self)
                opened.set_result(subscription)
                await self._closed.wait()
        except SubscriptionLost as error:
            opened.set_exception(error)
        finally:
            if self in self._broker.sessions:
                self._broker.sessions.remove(self)

    async def _die_unnoticed(self) -> None:
        await asyncio.sleep(self._broker.weather.dice.random() * UNNOTICED_SECONDS)
        self.close()
