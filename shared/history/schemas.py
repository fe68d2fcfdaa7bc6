"""Orders, what their customers were told, and what all of them come to, as JSON.

Gateway and ledger answer with the same classes: what an order looks like does not hang on where it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any, Final

from shared.keyspace import NotificationStatus
from shared.messages import event_time
from shared.orders.model import OrderStatus, Payment, Trouble
from shared.orders.records import OrderRecord, TimelineStep
from shared.prices import members


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Where to go on from here."""

    self: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemView:
    """A quantity of one SKU, and what a piece of it cost and was called when the order was accepted.

    Where it had no price then, ``unit_amount`` and ``name`` are absent.
    """

    sku: str
    qty: int
    unit_amount: int | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderSummary:
    """An order as it stands. ``sku`` names the item at fault, where there is one. Times are in UTC.

    ``trouble`` is there only while something keeps the order from being decided, ``customer`` only where it
    is one's, ``currency`` only where an item has a price, ``amount_total`` only where each has one,
    ``not_before`` only where it was scheduled, ``payment`` only where it is to be paid for. Amounts are in
    the currency's smallest unit. The ledger keeps none of ``email``, ``correlation_id``, ``not_before`` and
    ``sku``: they are null or absent where it alone has the order, and so is ``payment`` in its lists.
    """

    id: str
    status: OrderStatus
    items: Sequence[ItemView]
    email: str | None
    reason: str | None
    sku: str | None
    accepted_at: datetime
    decided_at: datetime | None
    next_attempt_at: datetime | None
    correlation_id: str | None
    links: Links
    trouble: Trouble | None = None
    customer: str | None = None
    currency: str | None = None
    amount_total: int | None = None
    not_before: datetime | None = None
    payment: Payment | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationView:
    """What the customer was told last, by which channel.

    ``unconfirmed`` says that a letter went out and its receiver has not said what became of it, ``collected``
    that it waits until its address may have another letter; where the customer wants no mail, the status is
    ``declined``.
    """

    channel: str
    status: NotificationStatus
    unconfirmed: bool
    collected: bool
    sending_at: datetime | None
    sent_at: datetime | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderView(OrderSummary):
    """An order as it stands, with everything that happened to it. Times are in UTC."""

    notifications: Sequence[NotificationView]
    timeline: Sequence[TimelineStep]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderList:
    """Orders, newest first. ``next_cursor`` leads to the next page; null on the last one.

    ``complete`` is there where it is false: old orders may be missing, and ``note`` says why.
    """

    orders: Sequence[OrderSummary]
    next_cursor: str | None
    complete: bool | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldView:
    """One time that a customer was told of an ``event`` of an order, could not be (``failed``), or did not
    want to be (``declined``).

    ``customer`` is there where the order is one's, ``channel`` where it is known. ``unconfirmed`` says that
    letters went out and no receiver said what became of them.
    """

    order_id: str
    event: str
    status: NotificationStatus
    unconfirmed: bool
    at: datetime
    channel: str | None = None
    customer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldList:
    """What customers were told, newest first. ``next_cursor`` leads to the next page; null on the last."""

    notifications: Sequence[ToldView]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DayView:
    """The orders that were accepted on one day, in UTC: how many stand where, and what they bring."""

    day: date
    orders: Mapping[str, int]
    revenue: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SellerView:
    """Pieces of a SKU that were sold."""

    sku: str
    qty: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderStatistics:
    """What all orders come to: how many stand where, what they bring, what sells best, and the latest days.

    Amounts are in the smallest unit of their currency. Revenue and pieces are those of orders that were
    created and not cancelled, and whose total is known.
    """

    orders: Mapping[str, int]
    revenue: Mapping[str, int]
    best_sellers: Sequence[SellerView]
    days: Sequence[DayView]


_WHERE_KNOWN: Final = frozenset(
    ("trouble", "channel", "customer", "currency", "amount_total", "not_before", "payment")
)


def as_json(view: OrderSummary | ToldView) -> dict[str, Any]:
    """The view, with what is only there where it is known left out where it is not."""
    shown = ((field.name, getattr(view, field.name)) for field in fields(view))
    return {name: value for name, value in shown if value is not None or name not in _WHERE_KNOWN}


def _items(record: OrderRecord) -> Sequence[Any]:
    """As :class:`ItemView` has them."""
    if record.prices is None:
        return record.order.items
    return [
        item
        if line is None
        else ItemView(sku=item.sku, qty=item.qty, unit_amount=line.unit_amount, name=line.name)
        for item, line in zip(record.order.items, record.prices.lines, strict=True)
    ]


def order_path(order_id: str) -> str:
    """Where an order is found."""
    return f"/orders/{order_id}"


def order_summary(record: OrderRecord) -> OrderSummary:
    """The order as lists show it."""
    return OrderSummary(**_told(record))


def order_view(record: OrderRecord, notification: Mapping[str, str]) -> OrderView:
    """The order as clients see it by itself."""
    told = _notifications(notification)
    return OrderView(**_told(record), notifications=told, timeline=record.timeline)


def _notifications(fields: Mapping[str, str]) -> Sequence[NotificationView]:
    """None where there is none, or what lies there makes no sense, as after a change by hand."""
    try:
        return [_notification(fields)] if fields else []
    except (ValueError, OverflowError):
        return []


def _notification(fields: Mapping[str, str]) -> NotificationView:
    return NotificationView(
        channel=fields.get("channel", ""),
        status=NotificationStatus(fields.get("status", "")),
        unconfirmed="unconfirmed" in fields,
        collected="collected" in fields,
        sending_at=_time(fields.get("sending_at")),
        sent_at=_time(fields.get("sent_at")),
        error=fields.get("last_error"),
    )


def _time(microseconds: str | None) -> datetime | None:
    return None if microseconds is None else event_time(int(microseconds))


def _told(record: OrderRecord) -> dict[str, Any]:
    order = record.order
    return {
        "id": order.id,
        "status": record.status,
        "trouble": record.trouble,
        "customer": record.customer,
        "items": _items(record),
        "email": order.email,
        "reason": record.reason,
        "sku": record.sku_at_fault,
        "accepted_at": record.accepted_at,
        "decided_at": record.decided_at,
        "not_before": record.not_before,
        "payment": record.payment,
        "next_attempt_at": record.next_attempt_at,
        "correlation_id": record.trace.correlation_id or None,
        "links": Links(self=order_path(order.id)),
        **members(record.prices),
    }
