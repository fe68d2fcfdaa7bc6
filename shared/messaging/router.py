"""From deliveries to outcomes: the loop between a queue and its handlers.

A consumer takes whatever has arrived, up to a limit of events and without waiting for more; the handler
gives back one outcome per event, however many of them shared a message; what the outcomes ask for is
published with all confirms in flight together; only then comes the ack of every delivery whose last event is
settled. A crash at any point leads to a redelivery, which handlers must survive.

While the store, the brokers' publishing side or what the handler sends through is away, the router neither
nacks nor counts attempts: it keeps its deliveries, takes no more, and tries again with backoff.
"""

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Protocol

from shared.errors import DecodeError, SubscriptionLost
from shared.failpoints import failpoint
from shared.logs import get_logger
from shared.messages import EventData, UnknownEvent, decode_all, split
from shared.messaging.handlers import BatchHandler, Incoming, waits_out_outages, wrapped
from shared.messaging.ports import Delivery, Publisher, Subscriber, Subscription
from shared.messaging.retry import (
    DELIVERY_LIMIT,
    SUSPECT_DELIVERIES,
    Dead,
    Done,
    History,
    Outcome,
    Retry,
    Split,
    outcome_of_error,
)
from shared.messaging.settlement import FailureListener, Settlement
from shared.messaging.spans import in_spans
from shared.pipeline import Consumption
from shared.tracing import is_sampled, trace_id_of, tracing

RESUBSCRIBE_SECONDS: Final = 0.2
UNKNOWN_TYPE: Final = "unknown_type"

log = get_logger(__name__)


class RouterMetrics(Protocol):
    """Counts what the router does."""

    def settled(self, outcome: str, count: int) -> None:
        """``count`` events ended as ``done``, ``retried``, ``dead`` or ``unknown_type``, or as many batches
        as ``split``."""

    def redelivered(self, count: int) -> None:
        """``count`` deliveries had been delivered before, to a consumer that did not ack them."""

    def batch(self, size: int, seconds: float, trace_id: str | None = None) -> None:
        """``size`` events that were handled together took this long until their ack; one of them is of this
        trace, if any of them is of one that is recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consuming:
    """What one router consumes, and how much of it at a time: messages unacked, events handled together."""

    consumption: Consumption
    handlers: Mapping[type[EventData], BatchHandler]
    prefetch: int = 200
    batch_limit: int = 100
    events_per_message: int = 64


@dataclass(slots=True)
class _Work:
    """An event of a delivery on its way through the router; ``is_last`` says that no other comes after it."""

    delivery: Delivery
    place: int = 0
    is_last: bool = False
    incoming: Incoming | None = None
    outcome: Outcome | Split | None = None


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
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._consuming = consuming
        around = [waits_out_outages, in_spans(consuming.consumption.queue)]
        self._handlers = {kind: wrapped(handler, around) for kind, handler in consuming.handlers.items()}
        self._subscriber = subscriber
        self._metrics = metrics
        self._subscription: Subscription | None = None
        self._lost = ""
        self._settlement = Settlement(
            consuming.consumption,
            publisher=publisher,
            failures=failures,
            clock=clock,
            events_per_message=consuming.events_per_message,
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
        limit = self._consuming.batch_limit
        works: deque[_Work] = deque()
        unopened: deque[Delivery] = deque()
        is_first = True
        while works or unopened or (unopened := deque(await subscription.receive(limit))):
            while unopened and len(works) < limit:
                works += self._open(unopened.popleft(), is_first=is_first)
                is_first = False
            batch = [works.popleft() for _ in range(min(limit, len(works)))]
            for group in _groups(batch):
                await self._see_through(group, subscription)

    async def _see_through(self, works: Sequence[_Work], subscription: Subscription) -> None:
        began = time.monotonic()
        await self._handle(works)
        await self._settle(works)
        ended = [work.delivery for work in works if work.is_last]
        if ended:
            failpoint("before_ack")
            await subscription.ack(ended[-1])
        self._metrics.redelivered(sum(delivery.redelivered for delivery in ended))
        self._metrics.batch(len(works), time.monotonic() - began, _example(works))
        for label, count in Counter(map(_label, works)).items():
            self._metrics.settled(label, count)

    def _open(self, delivery: Delivery, *, is_first: bool) -> list[_Work]:
        """A work for each event, or one for a batch that is to be split before its events are looked at.

        Of several messages that were delivered too often, the consumer before died of the first: those ahead
        of it were acked, and those behind it never had their turn.
        """
        count, contents = delivery.delivery_count, decode_all(delivery.body)
        if len(contents) > 1 and count >= SUSPECT_DELIVERIES:
            return [_Work(delivery, is_last=True, outcome=Split())]
        works = [_Work(delivery, place) for place in range(len(contents))]
        works[-1].is_last = True
        history = History.read(delivery.headers)
        for work, content in zip(works, contents, strict=True):
            if isinstance(content, DecodeError):
                work.outcome = outcome_of_error(content)
            elif isinstance(content, UnknownEvent) or type(content.data) not in self._consuming.handlers:
                work.outcome = Done()
            else:
                work.incoming = Incoming(event=content, history=history)
                if is_first and count >= DELIVERY_LIMIT:
                    times = f"delivered {count} times without an ack"
                    work.outcome = Dead(reason="delivery_limit", error=times)
        return works

    async def _handle(self, works: Sequence[_Work]) -> None:
        """Gives every open work its outcome. A delivery that came before runs alone from the start."""
        for kind, handler in self._handlers.items():
            mine = [work for work in works if work.outcome is None and _is_about(work, kind)]
            fresh = [work for work in mine if not work.delivery.redelivered]
            again = [work for work in mine if work.delivery.redelivered]
            for together in (fresh, *_by_delivery(again)):
                if together:
                    await self._run(handler, together)
            for work in mine:
                if work.outcome is None:
                    await self._run(handler, [work])

    async def _run(self, handler: BatchHandler, works: Sequence[_Work]) -> None:
        """Runs the handler once. A fault is the fate of an event that runs alone, and of no other."""
        batch = [work.incoming for work in works if work.incoming is not None]
        try:
            outcomes = await handler(batch)
        except Exception as error:  # whatever a handler raises is judged here, event by event
            if len(works) > 1:
                log.warning("batch failed, running its events alone", size=len(works), error=repr(error))
                return
            log.exception("handler failed", event_id=batch[0].event.id)
            outcomes = [outcome_of_error(error)]
        for work, outcome in zip(works, outcomes, strict=True):
            work.outcome = outcome

    async def _settle(self, works: Sequence[_Work]) -> None:
        """Publishes what the outcomes ask for."""
        events = [event for work in works if isinstance(work.outcome, Done) for event in work.outcome.events]
        others = [work for work in works if not isinstance(work.outcome, Done)]
        settling = [self._settlement.announce(events)] if events else []
        for of_one in _by_delivery(others):
            bodies = split(of_one[0].delivery.body)
            settling += [self._move(work, bodies[work.place]) for work in of_one]
        await asyncio.gather(*settling)

    async def _move(self, work: _Work, body: bytes) -> None:
        match work.outcome:
            case Retry() | Dead():
                event = work.incoming.event if work.incoming else None
                await self._settlement.move(work.outcome, work.delivery, body, event)
            case Split():
                await self._settlement.split(work.delivery)
            case _:
                raise RuntimeError("an event was left without an outcome")


def _groups(works: Sequence[_Work]) -> Iterator[Sequence[_Work]]:
    """Works that are settled together. What may be what ends its consumers has a turn and an ack of its own,
    so that no other is delivered again on its account.
    """
    for _, group in groupby(works, key=lambda work: work.delivery.tag if _is_suspect(work) else 0):
        yield list(group)


def _is_suspect(work: _Work) -> bool:
    return work.delivery.delivery_count >= SUSPECT_DELIVERIES


def _by_delivery(works: Iterable[_Work]) -> Iterator[Sequence[_Work]]:
    for _, group in groupby(works, key=lambda work: work.delivery.tag):
        yield list(group)


def _is_about(work: _Work, kind: type[EventData]) -> bool:
    return work.incoming is not None and type(work.incoming.event.data) is kind


def _example(works: Iterable[_Work]) -> str | None:
    if tracing() is None:
        return None
    traces = (work.incoming.event.trace for work in works if work.incoming is not None)
    recorded = (trace.traceparent for trace in traces if is_sampled(trace.traceparent))
    return next(map(trace_id_of, recorded), None)


def _label(work: _Work) -> str:
    match work.outcome:
        case Done():
            return "done" if work.incoming else UNKNOWN_TYPE
        case Retry():
            return "retried"
        case Split():
            return "split"
        case _:
            return "dead"
