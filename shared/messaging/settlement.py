"""Carrying out outcomes: events out, retries into their tier, dead letters into their queue."""

import random
from collections.abc import Callable
from typing import Any, Final, Protocol

from shared.failpoints import failpoint
from shared.logs import get_logger
from shared.messages import Event, EventData, encode
from shared.messaging.ports import Delivery, Headers, HeaderValue, OutgoingMessage, Publisher
from shared.messaging.retry import Bury, Dead, Done, History, Outcome, Retry, Wait, decide
from shared.messaging.waiting import waiting_out
from shared.pipeline import ROUTES, Consumption

TRACEPARENT: Final = "traceparent"

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
        random_: random.Random,
        clock: Callable[[], float],
    ) -> None:
        self._consumption = consumption
        self._publisher = publisher
        self._failures = failures
        self._random = random_
        self._clock = clock

    async def carry_out(self, outcome: Outcome, delivery: Delivery, event: Event[Any] | None) -> None:
        """Carries out one delivery's outcome and waits for every confirm, however long that takes."""
        if isinstance(outcome, Done):
            for announced in outcome.events:
                await self._publish(message_of(announced))
            failpoint("after_event_confirm")
        else:
            await self._move(outcome, delivery, event)

    async def _move(self, outcome: Retry | Dead, delivery: Delivery, event: Event[Any] | None) -> None:
        now = round(self._clock() * 1_000_000)
        fate = decide(outcome, History.read(delivery.headers), now, self._random)
        if event is not None and self._failures is not None:
            await self._tell(self._failures, event, fate)
        if isinstance(fate, Wait):
            queue, expiration = self._consumption.retry_queue(fate.tier_seconds), fate.expiration_seconds
        else:
            queue, expiration = self._consumption.dead_queue, None
            _log_burial(queue, fate, delivery, event)
        await self._publish(
            OutgoingMessage(
                exchange="",
                routing_key=queue,
                body=delivery.body,
                correlation_id=delivery.correlation_id,
                headers=_without_broker_headers(delivery.headers) | dict(fate.history.headers()),
                expiration_seconds=expiration,
            )
        )

    async def _tell(self, failures: FailureListener, event: Event[Any], fate: Wait | Bury) -> None:
        """What the listener cannot note, such as on a broken record, must not keep the message here."""
        try:
            if isinstance(fate, Wait):
                await waiting_out(lambda: failures.waits(event, fate), self._random)
            else:
                await waiting_out(lambda: failures.buried(event, fate), self._random)
        except Exception:  # it would come again with every redelivery, and stop the neighbours each time
            log.exception("failure not noted", event_id=event.id, order_id=event.subject)

    async def _publish(self, message: OutgoingMessage) -> None:
        await waiting_out(lambda: self._publisher.publish(message), self._random)


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


def _without_broker_headers(headers: Headers) -> dict[str, HeaderValue]:
    """Brokers from 4.0 on ignore ``x-death`` of republished messages; what they wrote stays behind."""
    return {name: value for name, value in headers.items() if not name.startswith("x-")}


def _log_burial(queue: str, fate: Bury, delivery: Delivery, event: Event[Any] | None) -> None:
    subject = {"event_id": event.id, "order_id": event.subject} if event else {}
    log.error(
        "dead-lettered",
        queue=queue,
        reason=fate.history.reason,
        error=fate.history.last_error,
        attempts=fate.history.attempts,
        correlation_id=delivery.correlation_id,
        **subject,
    )
