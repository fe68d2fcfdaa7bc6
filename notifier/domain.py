"""What a customer is told. Imports nothing that can wait."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from shared.currencies import written
from shared.mailboxes import mailbox
from shared.messages import (
    Event,
    EventData,
    OrderCancelled,
    OrderCreated,
    OrderDelivered,
    OrderRejected,
    OrderShipped,
)
from shared.orders.model import OrderStatus

REASONS = {
    "insufficient_stock": "there is not enough of it in stock",
    "unknown_sku": "it is not in our range",
    "dropped": "it could not be processed",
    "payment_declined": "the payment was declined",
}


class Kind(StrEnum):
    """What a customer is told: what the order has become, or that of several orders."""

    CREATED = OrderStatus.CREATED.value
    REJECTED = OrderStatus.REJECTED.value
    SHIPPED = OrderStatus.SHIPPED.value
    DELIVERED = OrderStatus.DELIVERED.value
    CANCELLED = OrderStatus.CANCELLED.value
    COLLECTED = "collected"


MOST_UNMARKED: Final[Mapping[str, int]] = {"log": 10, "smtp": 1}
"""How many notifications may be out on a channel before they are marked as sent: as many a crash may repeat.

It is more than one only where receivers can tell a repetition: each line of the log has the event's id.
"""

OUTCOMES = {
    Kind.CREATED: "confirmed",
    Kind.REJECTED: "not possible",
    Kind.SHIPPED: "on its way",
    Kind.DELIVERED: OrderStatus.DELIVERED.value,
    Kind.CANCELLED: OrderStatus.CANCELLED.value,
}
TOLD: Final[tuple[type[EventData], ...]] = (
    OrderCreated,
    OrderRejected,
    OrderShipped,
    OrderDelivered,
    OrderCancelled,
)
"""The events of which customers hear, in the order in which one order can meet them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifiedItem:
    """An item as its customer reads it; without a price it has no ``name`` and no amounts.

    ``unit_amount`` is what a piece costs and ``amount`` what all of them do, in the currency's own form.
    """

    sku: str
    qty: int
    name: str = ""
    unit_amount: str = ""
    amount: str = ""

    @property
    def text(self) -> str:
        """The item in one line."""
        named = f" ({self.name})" if self.name else ""
        priced = f", {self.unit_amount} each: {self.amount}" if self.amount else ""
        return f"{self.qty} x {self.sku}{named}{priced}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """A readable message about one event; ``id`` is the event's, so that receivers can tell a repetition.

    ``text`` says everything in a few lines; a sender with room for more composes from the other parts.
    ``total`` is what the order costs, '' where that is not known.
    """

    id: str
    kind: Kind
    order_id: str
    recipient: str | None
    items: tuple[NotifiedItem, ...]
    subject: str
    explanation: str
    text: str
    total: str = ""
    parts: tuple["Notification", ...] = ()
    """The notifications that this one collects."""


def collected(parts: Sequence[Notification]) -> Notification:
    """One notification that says what all of ``parts`` say; they have one recipient."""
    first = parts[0]
    return Notification(
        id=f"{first.id}.collected",
        kind=Kind.COLLECTED,
        order_id=first.order_id,
        recipient=first.recipient,
        items=(),
        subject=f"News about {len(parts)} of your orders",
        explanation=f"There is news about {len(parts)} of your orders.",
        text="\n\n".join(part.text for part in parts),
        parts=tuple(parts),
    )


def address_of(notification: Notification) -> str | None:
    """Where a letter about it would go, in the form in which addresses are compared; None if nowhere."""
    try:
        return mailbox(notification.recipient or "").address.lower()
    except ValueError:
        return None


def notification_of(event: Event[EventData]) -> Notification:
    """The notification that an event calls for."""
    order = event.data.order
    kind, explanation = _outcome(event.data)
    items, total = _items(event.data), _total(event.data)
    lines = [f"Order {order.id} is {OUTCOMES[kind]}.", explanation, ""]
    lines += [f"  {item.text}" for item in items]
    lines += [f"  Total: {total}"] if total else []
    return Notification(
        id=event.id,
        kind=kind,
        order_id=order.id,
        recipient=order.email,
        items=items,
        total=total,
        subject=f"Your order {order.id} is {OUTCOMES[kind]}",
        explanation=explanation,
        text="\n".join(lines),
    )


def _items(data: EventData) -> tuple[NotifiedItem, ...]:
    items, prices = data.order.items, data.prices
    if prices is None:
        return tuple(NotifiedItem(sku=item.sku, qty=item.qty) for item in items)
    return tuple(
        NotifiedItem(sku=item.sku, qty=item.qty)
        if line is None
        else NotifiedItem(
            sku=item.sku,
            qty=item.qty,
            name=line.name,
            unit_amount=written(line.unit_amount, prices.currency),
            amount=written(item.qty * line.unit_amount, prices.currency),
        )
        for item, line in zip(items, prices.lines, strict=True)
    )


def _total(data: EventData) -> str:
    prices = data.prices
    if prices is None or prices.amount_total is None:
        return ""
    return written(prices.amount_total, prices.currency)


def _outcome(data: EventData) -> tuple[Kind, str]:
    if isinstance(data, OrderCreated):
        return Kind.CREATED, "We have reserved everything for you."
    if isinstance(data, OrderRejected):
        why = REASONS.get(data.reason, data.reason)
        culprit = f"{data.sku}: {why}." if data.sku else f"Reason: {why}."
        return Kind.REJECTED, f"Nothing was reserved and nothing will be charged. {culprit}"
    if isinstance(data, OrderShipped):
        return Kind.SHIPPED, "We have handed it over for delivery."
    if isinstance(data, OrderDelivered):
        return Kind.DELIVERED, "It has arrived. Thank you for your order."
    if isinstance(data, OrderCancelled):
        why = f" Reason: {REASONS.get(data.reason, data.reason)}." if data.reason else ""
        return Kind.CANCELLED, f"It will not be delivered, and nothing is reserved for you any more.{why}"
    raise ValueError(f"no notification for {type(data).__name__}")
