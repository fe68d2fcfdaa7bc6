"""Messages that travel together: one message on the wire for several events of one route.

A message costs the brokers what it costs whether it holds one event or sixty, so those that are at hand at
one time go as one. Nothing waits for company: what is published while nothing is under way goes at once, and
what comes meanwhile goes with the next.
"""

from collections.abc import Iterator, Sequence
from contextvars import copy_context
from typing import Final

from shared.errors import BrokerUnavailable
from shared.gathering import Gathering
from shared.messages import join
from shared.messaging.ports import TRACEPARENT, OutgoingMessage, Publisher

BYTES_PER_MESSAGE: Final = 131_072
"""What a message holds at most; an event that is larger travels alone."""

Route = tuple[str, str]
"""Exchange and routing key."""


def may_travel_together(message: OutgoingMessage) -> bool:
    """Whether all that the message says of its event stands in its body.

    A retry or a dead letter has a history in its headers, and the queue that it goes to in its key.
    """
    is_plain = message.expiration_seconds is None and message.headers.keys() <= {TRACEPARENT}
    return bool(message.exchange) and is_plain


def together(messages: Sequence[OutgoingMessage], events_per_message: int) -> list[OutgoingMessage]:
    """The same events in as few messages as may be; the order within a route stays."""
    by_route: dict[Route, list[OutgoingMessage]] = {}
    result: list[OutgoingMessage] = []
    for message in messages:
        if events_per_message > 1 and may_travel_together(message):
            by_route.setdefault((message.exchange, message.routing_key), []).append(message)
        else:
            result.append(message)
    for on_route in by_route.values():
        result += (joined(chunk) for chunk in _chunks(on_route, events_per_message))
    return result


def joined(messages: Sequence[OutgoingMessage]) -> OutgoingMessage:
    """One message for all of them, which have one route. A lone one stays as it is."""
    first = messages[0]
    if len(messages) == 1:
        return first
    body = join([message.body for message in messages])
    return OutgoingMessage(
        exchange=first.exchange,
        routing_key=first.routing_key,
        body=body,
        mandatory=first.mandatory,
        traceparents=[str(each.headers[TRACEPARENT]) for each in messages if TRACEPARENT in each.headers],
    )


def _chunks(messages: Sequence[OutgoingMessage], events_per_message: int) -> Iterator[list[OutgoingMessage]]:
    begin = 0
    while begin < len(messages):
        end = begin + _fitting(messages[begin : begin + events_per_message])
        yield list(messages[begin:end])
        begin = end


def _fitting(messages: Sequence[OutgoingMessage]) -> int:
    """How many of the first ones fit into one: one at least."""
    size = 1
    for number, message in enumerate(messages):
        size += len(message.body) + 1
        if size > BYTES_PER_MESSAGE and number:
            return number
    return len(messages)


def no_answer(timeout_seconds: float) -> BrokerUnavailable:
    """What no confirm in time means."""
    return BrokerUnavailable(f"publishing: no answer within {timeout_seconds:g} s")


class GatheringPublisher:
    """Publishes for many callers at a time: one message of a route is under way, the next one gathers.

    ``timeout_seconds`` bounds the wait of each caller in all, as the publisher's own deadline would.
    """

    def __init__(self, publisher: Publisher, *, timeout_seconds: float, events_per_message: int) -> None:
        self._publisher = publisher
        self._timeout_seconds = timeout_seconds
        self._events_per_message = events_per_message
        self._context = copy_context()
        self._routes: dict[Route, Gathering[OutgoingMessage, None]] = {}

    async def publish(self, message: OutgoingMessage) -> None:
        if self._events_per_message == 1 or not may_travel_together(message):
            await self._publisher.publish(message)
            return
        route = message.exchange, message.routing_key
        gathering = self._routes.get(route)
        if gathering is None:
            gathering = self._routes[route] = self._context.run(self._new_gathering)
        await gathering.answer(message)

    def _new_gathering(self) -> Gathering[OutgoingMessage, None]:
        return Gathering(
            self._send,
            fitting=self._fitting,
            at_once=1,
            timeout_seconds=self._timeout_seconds,
            late=no_answer,
        )

    def _fitting(self, messages: Sequence[OutgoingMessage]) -> int:
        return _fitting(messages[: self._events_per_message])

    async def _send(self, messages: Sequence[OutgoingMessage]) -> Sequence[None]:
        await self._publisher.publish(joined(messages))
        return [None] * len(messages)
