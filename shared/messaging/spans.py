"""Spans of what is published and of what is handled, each in the trace of the event that it is about.

An event's envelope names the span in which it came to be: that of the request that placed an order, or that
of the handling from which the event follows. So a message that is published again, from the outbox or a retry
tier, is the same bytes, and what it leads to stands in the order's trace however long it waited. Events that
are handled together have a span each, in their own traces, and share one that is linked with all of them:
what the handler does for several at once stands below that.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Final

from shared.messages import Event, EventData
from shared.messaging.handlers import BatchHandler, Incoming, Middleware
from shared.messaging.ports import TRACEPARENT, OutgoingMessage
from shared.messaging.retry import Done, Outcome
from shared.tracing import ORDER_ID, Span, Tracing, ending, tracing, working_on

SYSTEM: Final = {"messaging.system": "rabbitmq"}
_NOTHING: Final = nullcontext()


def publishing(message: OutgoingMessage) -> AbstractContextManager[None]:
    """The block publishes the message: a span for each of its events, in their traces."""
    tracer = tracing()
    return _NOTHING if tracer is None else _publishing(tracer, message)


@contextmanager
def _publishing(tracer: Tracing, message: OutgoingMessage) -> Iterator[None]:
    own = message.headers.get(TRACEPARENT)
    parents = message.traceparents or ([str(own)] if own else [])
    name = f"publish {message.routing_key}"
    spans = [span for parent in parents if (span := tracer.begin(name, "producer", parent)) is not None]
    for span in spans:
        span.attributes |= SYSTEM | {"messaging.destination.name": message.exchange or message.routing_key}
        if len(message.traceparents) > 1:
            span.attributes["messaging.batch.message_count"] = len(message.traceparents)
    with ending(spans):
        yield


def in_spans(queue: str) -> Middleware:
    """A span for each event from ``queue`` whose trace is recorded; where this service does not trace, the
    handler stays as it is.
    """
    tracer = tracing()

    def middleware(handler: BatchHandler) -> BatchHandler:
        return handler if tracer is None else _handler_in_spans(tracer, handler, queue)

    return middleware


def _handler_in_spans(tracer: Tracing, handler: BatchHandler, queue: str) -> BatchHandler:
    async def around(batch: Sequence[Incoming]) -> Sequence[Outcome]:
        recorded: dict[str, Span] = {}
        for incoming in batch:
            if incoming.event.id not in recorded:
                _begin(tracer, incoming, queue, recorded)
        if not recorded:
            return await handler(batch)
        with working_on(tracer, f"process batch {queue}", recorded, of=len(batch)):
            outcomes = await handler(batch)
            return [
                _noted(recorded.get(incoming.event.id), outcome)
                for incoming, outcome in zip(batch, outcomes, strict=True)
            ]

    return around


def _begin(tracer: Tracing, incoming: Incoming, queue: str, recorded: dict[str, Span]) -> None:
    event = incoming.event
    span = tracer.begin(f"process {event.type}", "consumer", event.trace.traceparent)
    if span is not None:
        recorded[event.id] = span
        span.attributes |= SYSTEM | {
            "messaging.destination.name": queue,
            ORDER_ID: event.subject,
            "event.id": event.id,
            "attempt": incoming.history.attempts + 1,
        }


def _noted(span: Span | None, outcome: Outcome) -> Outcome:
    """The outcome, whose events came to be in the span."""
    if span is None:
        return outcome
    span.attributes["outcome"] = type(outcome).__name__.lower()
    if not isinstance(outcome, Done):
        span.error = outcome.reason
        return outcome
    return replace(outcome, events=tuple(_caused_by(span, event) for event in outcome.events))


def _caused_by(span: Span, event: Event[EventData]) -> Event[EventData]:
    return replace(event, trace=replace(event.trace, traceparent=span.traceparent))
