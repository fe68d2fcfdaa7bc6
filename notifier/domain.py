"""What a customer is told. Imports nothing that can wait."""

from dataclasses import dataclass

from shared.messages import Event, EventData, Order, OrderCreated, OrderRejected

REASONS = {
    "insufficient_stock": "there is not enough of it in stock",
    "unknown_sku": "it is not in our range",
    "dropped": "it could not be processed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """A readable message about one event; ``id`` is the event's, so that receivers can tell a repetition."""

    id: str
    order_id: str
    recipient: str | None
    subject: str
    text: str


def notification_of(event: Event[EventData]) -> Notification:
    """The notification that an event calls for."""
    order = event.data.order
    outcome, explanation = _outcome(event.data)
    lines = [f"Order {order.id} is {outcome}.", explanation, "", *_items(order)]
    return Notification(
        id=event.id,
        order_id=order.id,
        recipient=order.email,
        subject=f"Your order {order.id} is {outcome}",
        text="\n".join(lines),
    )


def _outcome(data: EventData) -> tuple[str, str]:
    if isinstance(data, OrderCreated):
        return "confirmed", "We have reserved everything for you."
    if isinstance(data, OrderRejected):
        why = REASONS.get(data.reason, data.reason)
        culprit = f"{data.sku}: {why}." if data.sku else f"Reason: {why}."
        return "not possible", f"Nothing was reserved and nothing will be charged. {culprit}"
    raise ValueError(f"no notification for {type(data).__name__}")


def _items(order: Order) -> list[str]:
    return [f"  {item.qty} x {item.sku}" for item in order.items]
