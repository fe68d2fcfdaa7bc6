"""Orders, events and deliveries as tests need them; what a test does not name is of no importance to it."""

from collections.abc import Mapping
from typing import Any

from shared.messages import (
    Event,
    Order,
    OrderCreated,
    OrderItem,
    OrderPlaced,
    OrderRejected,
    Trace,
    encode,
    event_time,
)
from shared.messaging.ports import Delivery
from shared.prices import Prices

AT = 1_750_000_000_000_000
"""An instant, in microseconds since the epoch."""
TRACE = Trace(correlation_id="correlated", traceparent=f"00-{'1' * 32}-{'2' * 16}-01")


def an_order(order_id: str = "order1", email: str | None = None, **quantities: int) -> Order:
    """An order of ``sku=qty``."""
    return order_of(order_id, quantities or {"cable": 1}, email)


def order_of(order_id: str, quantities: Mapping[str, int], email: str | None = None) -> Order:
    """An order of these quantities by SKU."""
    items = tuple(OrderItem(sku=sku, qty=qty) for sku, qty in quantities.items())
    return Order(id=order_id, email=email, items=items)


def placed(
    order: Order | None = None, *, at: int = AT, trace: Trace = TRACE, prices: Prices | None = None
) -> Event[OrderPlaced]:
    """The gateway's event about an order."""
    data = OrderPlaced(order=order or an_order(), prices=prices)
    return Event(source="/api_gateway", time=event_time(at), data=data, trace=trace)


def created(order: Order | None = None, *, at: int = AT, prices: Prices | None = None) -> Event[OrderCreated]:
    """The processor's event about an order whose stock was taken."""
    data = OrderCreated(order=order or an_order(), prices=prices)
    return Event(source="/order_processor", time=event_time(at), data=data, trace=TRACE)


def rejected(
    order: Order | None = None,
    *,
    reason: str = "insufficient_stock",
    sku: str | None = "cable",
    prices: Prices | None = None,
) -> Event[OrderRejected]:
    """The processor's event about an order of which nothing was taken."""
    data = OrderRejected(order=order or an_order(), reason=reason, sku=sku, prices=prices)
    return Event(source="/order_processor", time=event_time(AT), data=data, trace=TRACE)


def delivery_of(
    event: Event[Any], *, tag: int = 1, delivery_count: int = 0, **headers: str | int
) -> Delivery:
    """The event as a broker hands it out."""
    return Delivery(
        tag=tag,
        body=encode(event),
        routing_key="",
        correlation_id=event.trace.correlation_id,
        headers=headers,
        redelivered=delivery_count > 0,
        delivery_count=delivery_count,
    )
