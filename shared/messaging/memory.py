"""The broker port in memory, for unit tests, the simulator and the embedded mode. It forgets at exit.

It keeps the same promises as the cluster for as long as the process lives, proven by the same contract
suite: routing by the pipeline's map, mandatory publishing, redelivery with a count, expiration into the
dead-letter target, and the delivery limit.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from shared.errors import BrokerUnavailable, SubscriptionLost, Unroutable
from shared.messaging.dead_letters import LETTERS_PER_LOOK, DeadLettersBusy, Letters
from shared.messaging.ports import Delivery, OutgoingMessage
from shared.messaging.spans import publishing
from shared.pipeline import CONSUMPTIONS, Consumption, Queue, bindings, matches, queues

DEAD_LETTER_TARGET: Final = "x-dead-letter-routing-key"
FIRST_REASON, LAST_REASON = "x-first-death-reason", "x-last-death-reason"


@dataclass(frozen=True, slots=True)
class _Stored:
    """A message in a queue, and how often it has been delivered in vain."""

    message: OutgoingMessage
    deliveries: int = 0


@dataclass(slots=True)
class _MemoryQueue:
    declared: Queue
    ready: deque[_Stored] = field(default_factory=deque)
    expiring: dict[int, asyncio.TimerHandle] = field(default_factory=dict)
    subscriptions: list["MemorySubscription"] = field(default_factory=list)


class MemoryBroker:
    """All queues of the pipeline in one process; publisher and subscriber at once."""

    def __init__(self, consumptions: Sequence[Consumption] = CONSUMPTIONS) -> None:
        self._queues = {queue.name: _MemoryQueue(queue) for queue in queues(consumptions)}
        self._bindings = bindings(consumptions)
        self._down: str | None = None

    # --- the ports ------------------------------------------------------------------------------------

    async def publish(self, message: OutgoingMessage) -> None:
        with publishing(message):
            await asyncio.sleep(0)
            if self._down is not None:
                raise BrokerUnavailable(self._down)
            targets = self._targets(message)
            if not targets and message.mandatory:
                raise Unroutable(f"no queue takes {message.routing_key!r} from {message.exchange!r}")
            for queue in targets:
                self._enqueue(queue, _Stored(message))

    @asynccontextmanager
    async def subscribe(self, queue: str, *, prefetch: int) -> AsyncIterator["MemorySubscription"]:
        await asyncio.sleep(0)
        if self._down is not None:
            raise SubscriptionLost(self._down)
        source = self._queues[queue]
        subscription = MemorySubscription(self, source, prefetch)
        source.subscriptions.append(subscription)
        self._dispatch(source)
        try:
            yield subscription
        finally:
            self._end(subscription, "ended")

    @asynccontextmanager
    async def look_into(self, queue: str) -> AsyncIterator[Letters]:
        if self._down is not None:
            raise BrokerUnavailable(self._down)
        if self._queues[queue].subscriptions:
            raise DeadLettersBusy(f"another consumer reads {queue}")
        waiting = self.depth(queue)
        async with self.subscribe(queue, prefetch=LETTERS_PER_LOOK) as subscription:
            yield Letters(subscription, waiting)

    async def waiting(self, queue: str) -> int | None:
        if self._down is not None:
            raise BrokerUnavailable(self._down)
        return None if self._queues[queue].subscriptions else self.depth(queue)

    def unready_reason(self) -> str | None:
        """Why nothing can be published or consumed, or None."""
        return self._down

    async def wait_ready(self) -> None:
        """It is ready from the start."""

    async def run(self) -> None:
        """There is no connection to keep; waits to be cancelled."""
        await asyncio.Event().wait()

    # --- what tests and operators see --------------------------------------------------------------------

    def depth(self, queue: str) -> int:
        """Messages that wait in a queue; those out for delivery are not counted."""
        return len(self._queues[queue].ready)

    def unacked(self, queue: str) -> int:
        """Messages that are out for delivery."""
        return sum(len(each.unacked) for each in self._queues[queue].subscriptions)

    def consumers(self, queue: str) -> int:
        """How many read a queue, a look at its dead letters included."""
        return len(self._queues[queue].subscriptions)

    def give_up(self, queue: str) -> int:
        """Moves what waits in a queue to its dead letters, as if delivered too often; how many messages."""
        source = self._queues[queue]
        moved = [source.ready.popleft() for _ in range(len(source.ready))]
        for stored in moved:
            self._dead_letter(source, stored.message, "delivery_limit")
        return len(moved)

    def go_down(self, reason: str = "the broker is down") -> None:
        """Loses every connection; messages stay."""
        self._down = reason
        for queue in self._queues.values():
            for subscription in list(queue.subscriptions):
                self._end(subscription, reason)

    def come_back(self) -> None:
        """Takes connections again."""
        self._down = None

    # --- inside ---------------------------------------------------------------------------------------

    def _targets(self, message: OutgoingMessage) -> list[_MemoryQueue]:
        if message.exchange == "":
            queue = self._queues.get(message.routing_key)
            return [queue] if queue else []
        return [
            self._queues[binding.queue]
            for binding in self._bindings
            if binding.exchange == message.exchange and matches(binding.routing_key, message.routing_key)
        ]

    def _enqueue(self, queue: _MemoryQueue, stored: _Stored) -> None:
        queue.ready.append(stored)
        self._await_expiry(queue, stored)
        self._dispatch(queue)

    def _give_back(self, queue: _MemoryQueue, returned: Sequence[_Stored]) -> None:
        """Returns messages to the head of their queue, the oldest first, before any is handed out again."""
        queue.ready.extendleft(reversed(returned))
        for stored in returned:
            self._await_expiry(queue, stored)
        self._dispatch(queue)

    def _await_expiry(self, queue: _MemoryQueue, stored: _Stored) -> None:
        seconds = self._lifetime(queue, stored.message)
        if seconds is not None:
            loop = asyncio.get_running_loop()
            queue.expiring[id(stored)] = loop.call_later(seconds, self._expire, queue, stored)

    def _lifetime(self, queue: _MemoryQueue, message: OutgoingMessage) -> float | None:
        limit = queue.declared.arguments.get("x-message-ttl")
        lifetimes = [float(limit) / 1000] if limit is not None else []
        if message.expiration_seconds is not None:
            lifetimes.append(message.expiration_seconds)
        return min(lifetimes, default=None)

    def _expire(self, queue: _MemoryQueue, stored: _Stored) -> None:
        queue.expiring.pop(id(stored), None)
        if any(each is stored for each in queue.ready):
            queue.ready = deque(each for each in queue.ready if each is not stored)
            self._dead_letter(queue, stored.message, "expired")

    def _dead_letter(self, queue: _MemoryQueue, message: OutgoingMessage, reason: str) -> None:
        target = queue.declared.arguments.get(DEAD_LETTER_TARGET)
        if isinstance(target, str):
            headers = {FIRST_REASON: reason, **message.headers, LAST_REASON: reason}
            dead = replace(message, expiration_seconds=None, headers=headers)
            self._enqueue(self._queues[target], _Stored(dead))

    def _dispatch(self, queue: _MemoryQueue) -> None:
        for subscription in queue.subscriptions:
            while queue.ready and subscription.has_room():
                stored = queue.ready.popleft()
                timer = queue.expiring.pop(id(stored), None)
                if timer is not None:
                    timer.cancel()
                subscription.deliver(stored)

    def _end(self, subscription: "MemorySubscription", reason: str) -> None:
        queue = subscription.source
        if subscription not in queue.subscriptions:
            return
        queue.subscriptions.remove(subscription)
        subscription.lose(reason)
        limit = int(queue.declared.arguments["x-delivery-limit"])
        unacked = list(subscription.unacked.values())
        subscription.unacked.clear()
        for stored in unacked:
            if stored.deliveries >= limit:
                self._dead_letter(queue, stored.message, "delivery_limit")
        again = [replace(each, deliveries=each.deliveries + 1) for each in unacked if each.deliveries < limit]
        self._give_back(queue, again)


class MemorySubscription:
    """One consumer of one queue."""

    def __init__(self, broker: MemoryBroker, source: _MemoryQueue, prefetch: int) -> None:
        self.source = source
        self.unacked: dict[int, _Stored] = {}
        self._broker = broker
        self._prefetch = prefetch
        self._next_tag = 1
        self._arrived: deque[Delivery] = deque()
        self._changed = asyncio.Event()
        self._cancelled = False
        self._lost: str | None = None

    async def receive(self, limit: int) -> Sequence[Delivery]:
        while not self._arrived and self._lost is None:
            if self._cancelled:
                return ()
            self._changed.clear()
            await self._changed.wait()
        if self._lost is not None:
            raise SubscriptionLost(self._lost)
        return [self._arrived.popleft() for _ in range(min(limit, len(self._arrived)))]

    async def ack(self, delivery: Delivery) -> None:
        await asyncio.sleep(0)
        if self._lost is not None:
            raise SubscriptionLost(self._lost)
        for tag in [tag for tag in self.unacked if tag <= delivery.tag]:
            del self.unacked[tag]
        self._broker._dispatch(self.source)

    async def ack_alone(self, delivery: Delivery) -> None:
        await asyncio.sleep(0)
        if self._lost is not None:
            raise SubscriptionLost(self._lost)
        self.unacked.pop(delivery.tag, None)
        self._broker._dispatch(self.source)

    async def cancel(self) -> None:
        await asyncio.sleep(0)
        self._cancelled = True
        self._changed.set()

    def has_room(self) -> bool:
        """Whether one more delivery may be handed out."""
        return not self._cancelled and self._lost is None and len(self.unacked) < self._prefetch

    def deliver(self, stored: _Stored) -> None:
        """Hands a message out."""
        tag, self._next_tag = self._next_tag, self._next_tag + 1
        self.unacked[tag] = stored
        message = stored.message
        self._arrived.append(
            Delivery(
                tag=tag,
                body=message.body,
                routing_key=message.routing_key,
                correlation_id=message.correlation_id,
                headers=dict(message.headers),
                redelivered=stored.deliveries > 0,
                delivery_count=stored.deliveries,
            )
        )
        self._changed.set()

    def lose(self, reason: str) -> None:
        """Ends the subscription."""
        self._lost = self._lost or reason
        self._changed.set()
