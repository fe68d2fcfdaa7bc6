"""Carrying out outcomes: events out, retries into their tier, dead letters into their queue."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from shared.errors import DecodeError
from shared.failpoints import failpoint
from shared.logs import get_logger
from shared.messages import Event, EventData, Trace, decode, encode, split
from shared.messaging.batching import together
from shared.messaging.ports import (
    TRACEPARENT,
    Delivery,
    HeaderValue,
    OutgoingMessage,
    Publisher,
)
from shared.messaging.retry import REASON, Bury, Dead, History, Retry, Wait, decide
from shared.messaging.waiting import JITTER, waiting_out
from shared.pipeline import ROUTES, Consumption
from shared.tracing import log_fields

OF_THE_BROKER: Final = ("x-last-death-reason", "x-first-death-reason")
"""What the broker says of a message that it moved itself, because it was delivered too often."""

log = get_logger(__name__)


class FailureListener(Protocol):
    """Is told that an order's message waits or is given up, before that message is moved."""

    async def waits(self, event: Event[Any], fate: Wait) -> None:
        """The event comes back after ``fate.expiration_seconds``.

        Raises StoreUnavailable, which is waited out; anything else is logged and the message moves on.
        """

    async def buried(self, event: Event[Any], fate: Bury) -> None:
        """The event goes to the dead-letter queue. Raises as :meth:`waits` does."""


class Settlement:
    """Publishes what an outcome asks for. When it returns, the delivery may be acked."""

    def __init__(
        self,
        consumption: Consumption,
        *,
        publisher: Publisher,
        failures: FailureListener | None,
        clock: Callable[[], float],
        events_per_message: int,
    ) -> None:
        self._consumption = consumption
        self._publisher = publisher
        self._failures = failures
        self._clock = clock
        self._events_per_message = events_per_message

    async def announce(self, events: Sequence[Event[EventData]]) -> None:
        """Publishes what happened and waits for every confirm, however long that takes."""
        messages = together([message_of(event) for event in events], self._events_per_message)
        await asyncio.gather(*map(self._announce, messages))

    async def _announce(self, message: OutgoingMessage) -> None:
        await self._publish(message)
        failpoint("after_event_confirm")

    async def split(self, delivery: Delivery) -> None:
        """Publishes the events of a batch back to where it came from, each as a message of its own."""
        queue = self._consumption.queue
        log.warning("splitting a batch", queue=queue, delivery_count=delivery.delivery_count)
        await self._publish_all([single(delivery, queue, body) for body in split(delivery.body)])

    async def move(
        self, outcome: Retry | Dead, delivery: Delivery, body: bytes, event: Event[Any] | None
    ) -> None:
        """Moves one event of a delivery, whose own bytes are ``body``, to where it waits or ends, and waits
        for the confirm."""
        now = round(self._clock() * 1_000_000)
        fate = decide(outcome, History.read(delivery.headers), now, JITTER)
        if event is not None and self._failures is not None:
            await self._tell(self._failures, event, fate)
        if isinstance(fate, Wait):
            queue, expiration = self._consumption.retry_queue(fate.tier_seconds), fate.expiration_seconds
        else:
            queue, expiration = self._consumption.dead_queue, None
        message = single(delivery, queue, body)
        if isinstance(fate, Bury):
            _log_burial(message, fate, event)
        headers = dict(message.headers) | dict(fate.history.headers())
        await self._publish(replace(message, headers=headers, expiration_seconds=expiration))

    async def _tell(self, failures: FailureListener, event: Event[Any], fate: Wait | Bury) -> None:
        """What the listener cannot note, such as on a broken record, must not keep the message here."""
        try:
            if isinstance(fate, Wait):
                await waiting_out(lambda: failures.waits(event, fate))
            else:
                await waiting_out(lambda: failures.buried(event, fate))
        except Exception:  # it would come again with every redelivery, and stop the neighbours each time
            log.exception("failure not noted", event_id=event.id, order_id=event.subject)

    async def _publish_all(self, messages: Sequence[OutgoingMessage]) -> None:
        await asyncio.gather(*map(self._publish, messages))

    async def _publish(self, message: OutgoingMessage) -> None:
        await waiting_out(lambda: self._publisher.publish(message))


def message_of(event: Event[EventData]) -> OutgoingMessage:
    """The event as a message on its route."""
    route = ROUTES[event.type]
    headers: dict[str, HeaderValue] = (
        {TRACEPARENT: event.trace.traceparent} if event.trace.traceparent else {}
    )
    return OutgoingMessage(
        exchange=route.exchange,
        routing_key=route.routing_key,
        body=encode(event),
        correlation_id=event.trace.correlation_id,
        headers=headers,
    )


def single(delivery: Delivery, queue: str, body: bytes) -> OutgoingMessage:
    """One event of a delivery as a message of its own to ``queue``, with the delivery's history.

    The trace of an event of a batch, which travelled in its envelope, stands beside it again. Brokers from
    4.0 on ignore ``x-death`` of republished messages; what they wrote stays behind, but for why they moved
    the message, where no reason of a consumer's stands beside it.
    """
    headers = {name: value for name, value in delivery.headers.items() if not name.startswith("x-")}
    moved = next((delivery.headers[name] for name in OF_THE_BROKER if name in delivery.headers), None)
    if moved is not None:
        headers.setdefault(REASON, moved)
    correlation_id = delivery.correlation_id
    if body != delivery.body:
        trace = _trace_in(body)
        correlation_id = trace.correlation_id
        if trace.traceparent:
            headers[TRACEPARENT] = trace.traceparent
    return OutgoingMessage(
        exchange="", routing_key=queue, body=body, correlation_id=correlation_id, headers=headers
    )


def _trace_in(body: bytes) -> Trace:
    try:
        event = decode(body)
    except DecodeError:
        return Trace(correlation_id="")
    return event.trace if isinstance(event, Event) else Trace(correlation_id="")


def _log_burial(message: OutgoingMessage, fate: Bury, event: Event[Any] | None) -> None:
    subject = {"event_id": event.id, "order_id": event.subject} if event else {}
    log.error(
        "dead-lettered",
        queue=message.routing_key,
        reason=fate.history.reason,
        error=fate.history.last_error,
        attempts=fate.history.attempts,
        correlation_id=message.correlation_id,
        **subject,
        **log_fields(str(message.headers.get(TRACEPARENT, ""))),
    )
