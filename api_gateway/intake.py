"""Accepting an order: durable first, published second, answered honestly.

From the moment that the accept script has run the order exists. Whether its message reached a queue may be
unknown; then the entry stays in the outbox, and the relay publishes it when it can.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from api_gateway.ports import NotDurable
from shared.breaker import Breaker
from shared.errors import BrokerUnavailable
from shared.failpoints import failpoint, is_armed
from shared.logs import get_logger
from shared.messages import Event, Order, OrderPlaced, Trace, event_time
from shared.messaging.ports import OutgoingMessage, Publisher
from shared.messaging.settlement import message_of
from shared.orders.placement import Acceptance, Accepted, Placement, PlacementResult
from shared.orders.ports import OrderStore
from shared.orders.records import placed_event
from shared.prices import Prices
from shared.tracing import ORDER_ID, current_span

SENT_SECONDS: Final = 0.002
"""Time for a message to leave the process; a confirm on three disks takes longer."""

log = get_logger(__name__)


class ConfirmedOrders(Protocol):
    """Learns which orders need the outbox no more."""

    def add(self, order_id: str) -> None:
        """The order's message is in a queue."""


def placed_message(
    order: Order, accepted_at: int, trace: Trace, prices: Prices | None = None
) -> OutgoingMessage:
    """The message that asks for a decision; ``accepted_at`` in microseconds since the epoch."""
    return message_of(placed_event(order, event_time(accepted_at), trace, prices))


class OrderIntake:
    """The use case behind ``POST /orders``."""

    def __init__(
        self,
        *,
        store: OrderStore,
        publisher: Publisher,
        confirmed: ConfirmedOrders,
        breaker: Breaker,
        store_is_durable: Callable[[], bool],
        is_volatile: bool = False,
    ) -> None:
        """``is_volatile`` says that nothing is meant to outlive this process."""
        self._is_volatile = is_volatile
        self._store = store
        self._publisher = publisher
        self._confirmed = confirmed
        self._breaker = breaker
        self._store_is_durable = store_is_durable

    async def place(self, placement: Placement) -> PlacementResult:
        if not self._store_is_durable() and not self._breaker.would_try():
            raise NotDurable("no broker is up, and the store may forget what it acknowledges")
        if placement.not_before is not None and not (self._store_is_durable() or self._is_volatile):
            raise NotDurable(
                "an order that is to begin later is kept by the store alone, which may forget it"
            )
        if (span := current_span()) is not None:
            span.attributes[ORDER_ID] = placement.order.id
        acceptance = await self._store.accept(placement)
        result = acceptance.result
        if isinstance(result, Accepted) and acceptance.accepted_at is not None:
            failpoint("after_accept")
            accepted_at = event_time(acceptance.accepted_at)
            placed = placed_event(
                placement.order, accepted_at, placement.trace, result.prices, placement.customer
            )
            await self._publish(placed)
        elif acceptance.waiting and not self._store_is_durable():
            await self._publish_again(acceptance)
        failpoint("before_202")
        return result

    async def _publish(self, placed: Event[OrderPlaced]) -> None:
        if await self._confirm(message_of(placed)):
            self._confirmed.add(placed.subject)
        elif not self._store_is_durable():
            raise NotDurable("no broker confirmed the order, and the store may forget it")

    async def _publish_again(self, acceptance: Acceptance) -> None:
        """A replay must not promise what the first answer could not."""
        result = acceptance.result
        record = None if isinstance(result, Accepted) else await self._store.get(result.order_id)
        if record is not None:
            await self._publish(record.placed)

    async def _confirm(self, message: OutgoingMessage) -> bool:
        """Whether a broker confirmed the message; where none is likely to, it is not asked."""
        if not self._breaker.try_now():
            return False
        try:
            await self._send(message)
        except BrokerUnavailable as error:
            self._breaker.failed(str(error))
            log.warning("left in the outbox", reason=str(error))
            return False
        self._breaker.succeeded()
        failpoint("after_confirm")
        return True

    async def _send(self, message: OutgoingMessage) -> None:
        if not is_armed("after_publish_sent"):
            await self._publisher.publish(message)
            return
        publishing = asyncio.ensure_future(self._publisher.publish(message))
        await asyncio.wait({publishing}, timeout=SENT_SECONDS)
        failpoint("after_publish_sent")
        await publishing
