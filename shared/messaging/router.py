"""From deliveries to outcomes: the loop between a queue and its handlers.

A consumer takes whatever has arrived, up to a limit and without waiting for more; the handler gives back
one outcome per message; what the outcomes ask for is published with all confirms in flight together; only
then comes the ack. A crash at any point leads to a redelivery, which handlers must survive.

While the store, the brokers' publishing side or what the handler sends through is away, the router neither
nacks nor counts attempts: it keeps its deliveries, takes no more, and tries again with backoff.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from shared.errors import DecodeError, SubscriptionLost
from shared.failpoints import failpoint
from shared.logs import get_logger
from shared.messages import Event, EventData, UnknownEvent, decode
from shared.messaging.ports import Delivery, Publisher, Subscriber, Subscription
from shared.messaging.retry import DELIVERY_LIMIT, Dead, Done, History, Outcome, Retry, outcome_of_error
from shared.messaging.settlement import FailureListener, Settlement
from shared.messaging.waiting import waiting_out
from shared.pipeline import Consumption

RESUBSCRIBE_SECONDS: Final = 0.2
UNKNOWN_TYPE: Final = "unknown_type"

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A decoded event with the history of its failures."""

    event: Event[Any]
    history: History


BatchHandler = Callable[[Sequence[Incoming]], Awaitable[Sequence[Outcome]]]
"""Gets events of one kind and returns one outcome for each, in order. It must survive being run again."""


class RouterMetrics(Protocol):
    """Counts what the router does."""

    def settled(self, outcome: str, count: int) -> None:
        """``count`` deliveries ended as ``done``, ``retried``, ``dead`` or ``unknown_type``."""

    def redelivered(self, count: int) -> None:
        """``count`` deliveries had been delivered before, to a consumer that did not ack them."""

    def batch(self, size: int, seconds: float) -> None:
        """A batch of ``size`` deliveries took this long from receipt to ack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consuming:
    """What one router consumes, and how much of it at a time."""

    consumption: Consumption
    handlers: Mapping[type[EventData], BatchHandler]
    prefetch: int = 200
    batch_limit: int = 100


@dataclass(slots=True)
class _Work:
    """A delivery on its way through the router."""

    delivery: Delivery
    incoming: Incoming | None = None
    outcome: Outcome | None = None

    def asks_for_something(self) -> bool:
        """Whether anything is left to be done before the ack."""
        return not isinstance(self.outcome, Done) or bool(self.outcome.events)


class Router:
    """Consumes one queue until it is told to stop."""

    def __init__(
        self,
        consuming: Consuming,
        *,
        publisher: Publisher,
        subscriber: Subscriber,
        failures: FailureListener | None,
        metrics: RouterMetrics,
        random_: random.Random,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._consuming = consuming
        self._subscriber = subscriber
        self._metrics = metrics
        self._random = random_
        self._subscription: Subscription | None = None
        self._lost = ""
        self._settlement = Settlement(
            consuming.consumption, publisher=publisher, failures=failures, random_=random_, clock=clock
        )

    def unready_reason(self) -> str | None:
        """Why nothing is being consumed at the moment, or None."""
        because = f": {self._lost}" if self._lost else ""
        return None if self._subscription else f"not consuming {self._consuming.consumption.queue}{because}"

    async def run(self, stop: asyncio.Event) -> None:
        """Consumes until ``stop`` is set and everything that has arrived by then is settled."""
        async with asyncio.TaskGroup() as group:
            consuming = group.create_task(self._consume_until(stop))
            await stop.wait()
            if self._subscription is None:
                consuming.cancel()
            else:
                with contextlib.suppress(SubscriptionLost):
                    await self._subscription.cancel()

    async def _consume_until(self, stop: asyncio.Event) -> None:
        queue, prefetch = self._consuming.consumption.queue, self._consuming.prefetch
        while not stop.is_set():
            try:
                async with self._subscriber.subscribe(queue, prefetch=prefetch) as subscription:
                    if self._subscription is None:
                        log.info("consuming", queue=queue)
                    self._subscription = subscription
                    if stop.is_set():
                        await subscription.cancel()
                    await self._consume(subscription)
            except SubscriptionLost as error:
                log.warning("consumer lost", queue=queue, reason=str(error))
                self._subscription, self._lost = None, str(error)
                await asyncio.sleep(RESUBSCRIBE_SECONDS)

    async def _consume(self, subscription: Subscription) -> None:
        while deliveries := await subscription.receive(self._consuming.batch_limit):
            began = time.monotonic()
            self._metrics.redelivered(sum(delivery.redelivered for delivery in deliveries))
            works = [self._open(delivery) for delivery in deliveries]
            await self._handle(works)
            await asyncio.gather(*(self._settle(work) for work in works if work.asks_for_something()))
            failpoint("before_ack")
            await subscription.ack(deliveries[-1])
            self._metrics.batch(len(works), time.monotonic() - began)
            for label, count in Counter(_label(work) for work in works).items():
                self._metrics.settled(label, count)

    def _open(self, delivery: Delivery) -> _Work:
        work = _Work(delivery)
        try:
            event = decode(delivery.body)
        except DecodeError as error:
            work.outcome = outcome_of_error(error)
            return work
        if isinstance(event, UnknownEvent) or type(event.data) not in self._consuming.handlers:
            work.outcome = Done()
            return work
        work.incoming = Incoming(event=event, history=History.read(delivery.headers))
        if delivery.delivery_count >= DELIVERY_LIMIT:
            times = f"delivered {delivery.delivery_count} times without an ack"
            work.outcome = Dead(reason="delivery_limit", error=times)
        return work

    async def _handle(self, works: Sequence[_Work]) -> None:
        """Gives every open work its outcome. What was delivered before runs alone from the start."""
        for kind, handler in self._consuming.handlers.items():
            mine = [work for work in works if work.outcome is None and _is_about(work, kind)]
            fresh = [work for work in mine if not work.delivery.redelivered]
            if fresh:
                await self._run(handler, fresh)
            for work in mine:
                if work.outcome is None:
                    await self._run(handler, [work])

    async def _run(self, handler: BatchHandler, works: Sequence[_Work]) -> None:
        """Runs the handler once. A fault is the fate of a message that runs alone, and of no other."""
        batch = [work.incoming for work in works if work.incoming is not None]
        try:
            outcomes = await waiting_out(lambda: handler(batch), self._random)
        except Exception as error:  # whatever a handler raises is judged here, message by message
            if len(works) > 1:
                log.warning("batch failed, running its messages alone", size=len(works), error=repr(error))
                return
            log.exception("handler failed", event_id=batch[0].event.id)
            outcomes = [outcome_of_error(error)]
        for work, outcome in zip(works, outcomes, strict=True):
            work.outcome = outcome

    async def _settle(self, work: _Work) -> None:
        if work.outcome is None:
            raise RuntimeError("a delivery was left without an outcome")
        event = work.incoming.event if work.incoming else None
        await self._settlement.carry_out(work.outcome, work.delivery, event)


def _is_about(work: _Work, kind: type[EventData]) -> bool:
    return work.incoming is not None and type(work.incoming.event.data) is kind


def _label(work: _Work) -> str:
    if isinstance(work.outcome, Done):
        return "done" if work.incoming else UNKNOWN_TYPE
    return "retried" if isinstance(work.outcome, Retry) else "dead"
