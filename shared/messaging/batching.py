"""Messages that travel together: one message on the wire for several events of one route.

A message costs the brokers what it costs whether it holds one event or sixty, so those that are at hand at
one time go as one. Nothing waits for company: what is published while nothing is under way goes at once, and
what comes meanwhile goes with the next.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from shared.errors import BrokerUnavailable
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
    return OutgoingMessage(exchange=first.exchange, routing_key=first.routing_key, body=body)


def _chunks(messages: Sequence[OutgoingMessage], events_per_message: int) -> Iterator[list[OutgoingMessage]]:
    begin = 0
    while begin < len(messages):
        end = begin + _fitting([message.body for message in messages[begin : begin + events_per_message]])
        yield list(messages[begin:end])
        begin = end


def _fitting(bodies: Sequence[bytes]) -> int:
    """How many of the first ones fit into one message: one at least."""
    size = 1
    for number, body in enumerate(bodies):
        size += len(body) + 1
        if size > BYTES_PER_MESSAGE and number:
            return number
    return len(bodies)


@dataclass(slots=True)
class _Waiting:
    """A message that waits for its confirm, since ``since`` on the loop's clock."""

    message: OutgoingMessage
    confirmed: "asyncio.Future[None]"
    since: float


@dataclass(slots=True)
class _Lane:
    """One route: what waits, and the task that sends it, if any does."""

    waiting: list[_Waiting] = field(default_factory=list)
    sending: "asyncio.Task[None] | None" = None


class GatheringPublisher:
    """Publishes for many callers at a time: one message of a route is under way, the next one gathers.

    ``timeout_seconds`` bounds the wait of each caller in all, as the publisher's own deadline would.
    """

    def __init__(
        self,
        publisher: Publisher,
        *,
        timeout_seconds: float,
        events_per_message: int,
    ) -> None:
        self._publisher = publisher
        self._timeout_seconds = timeout_seconds
        self._events_per_message = events_per_message
        self._lanes: dict[Route, _Lane] = {}

    async def publish(self, message: OutgoingMessage) -> None:
        if self._events_per_message == 1 or not may_travel_together(message):
            await self._publisher.publish(message)
            return
        loop = asyncio.get_running_loop()
        lane = self._lanes.setdefault((message.exchange, message.routing_key), _Lane())
        waiting = _Waiting(message, loop.create_future(), loop.time())
        lane.waiting.append(waiting)
        if lane.sending is None:
            lane.sending = loop.create_task(self._send_all(lane))
        await waiting.confirmed

    async def _send_all(self, lane: _Lane) -> None:
        try:
            while lane.waiting:
                batch = lane.waiting[: self._events_per_message]
                batch = batch[: _fitting([each.message.body for each in batch])]
                del lane.waiting[: len(batch)]
                wanted = [each for each in batch if not each.confirmed.done()]
                if wanted:
                    await self._send(wanted)
        finally:
            lane.sending = None
            for each in lane.waiting:
                each.confirmed.cancel()
            lane.waiting.clear()

    async def _send(self, batch: Sequence[_Waiting]) -> None:
        error: Exception | None = None
        try:
            async with asyncio.timeout_at(batch[0].since + self._timeout_seconds):
                await self._publisher.publish(joined([each.message for each in batch]))
        except TimeoutError:
            error = BrokerUnavailable(f"publishing: no answer within {self._timeout_seconds:g} s")
        except asyncio.CancelledError:
            for each in batch:
                each.confirmed.cancel()
            raise
        except Exception as fault:  # noqa: BLE001 - every caller is told, and judges it as if it had gone alone
            error = fault
        for each in batch:
            if each.confirmed.done():
                continue
            if error is None:
                each.confirmed.set_result(None)
            else:
                each.confirmed.set_exception(error)
