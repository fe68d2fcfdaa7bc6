"""What clients send and what they get, as JSON. ``/openapi.json`` is generated from these same classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from shared.currencies import written
from shared.http.problems import ProblemView
from shared.http.validation import Body
from shared.keyspace import NotificationStatus
from shared.mailboxes import mailbox
from shared.messages import MAX_ITEMS, EmailAddress, Identifier, Order, Quantity, event_time
from shared.orders.model import OrderStatus, Trouble
from shared.orders.placement import unpriced_skus
from shared.orders.records import OrderRecord, TimelineStep
from shared.prices import AmountTotal, Currency, Prices, members

MAX_STOCK = 10**12
MOST_NAMED = 5

OptionalId = Annotated[
    Identifier | None,
    Field(description="The order's id. May be left out only when an Idempotency-Key header is sent."),
]


def _deliverable(address: str) -> str:
    """The address as it was sent. Raises ValueError where no letter could ever go there."""
    mailbox(address)
    return address


OptionalEmail = Annotated[
    Annotated[EmailAddress, AfterValidator(_deliverable)] | None,
    Field(description="Where to send the confirmation; an address that needs no quoting."),
]


ExpectedCurrency = Annotated[
    Currency | None,
    Field(description="What the client takes the currency to be; another one accepts nothing."),
]
ExpectedTotal = Annotated[
    AmountTotal | None,
    Field(
        description="What the client takes the order to cost, in the currency's smallest unit; "
        "another sum accepts nothing."
    ),
]


class ItemBody(Body):
    """A quantity of one SKU."""

    sku: Identifier
    qty: Quantity


class OrderBody(Body):
    """An order: all of its items are reserved, or none is. Each SKU stands in one item only."""

    id: OptionalId = None
    items: Annotated[list[ItemBody], Field(min_length=1, max_length=MAX_ITEMS)]
    email: OptionalEmail = None
    currency: ExpectedCurrency = None
    amount_total: ExpectedTotal = None


class SingleItemBody(Body):
    """Shorthand for an order of one item."""

    id: OptionalId = None
    sku: Identifier
    qty: Quantity
    email: OptionalEmail = None
    currency: ExpectedCurrency = None
    amount_total: ExpectedTotal = None


class StockBody(Body):
    """The stock of a SKU from now on, in pieces."""

    available: Annotated[int, Field(strict=True, ge=0, le=MAX_STOCK)]


class StockChangeBody(Body):
    """By how many pieces the stock of a SKU changes; not zero."""

    delta: Annotated[
        int,
        Field(strict=True, ge=-MAX_STOCK, le=MAX_STOCK, json_schema_extra={"not": {"const": 0}}),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Where to go on from here."""

    self: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderReceipt:
    """The order has been taken and will be decided.

    ``currency`` is there where any of its products has a price, ``amount_total`` where each has one.
    """

    id: str
    status: Literal[OrderStatus.ACCEPTED]
    message: str
    links: Links
    currency: str | None = None
    amount_total: int | None = None


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
    is one's, ``currency`` only where an item has a price, ``amount_total`` only where each has one. Amounts
    are in the currency's smallest unit.
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
    correlation_id: str
    links: Links
    trouble: Trouble | None = None
    customer: str | None = None
    currency: str | None = None
    amount_total: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationView:
    """What the customer was told last, by which channel.

    ``unconfirmed`` says that a letter went out and its receiver has not said what became of it, ``collected``
    that it waits until its address may have another letter.
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
    """Orders, newest first. ``next_cursor`` leads to the next page; null on the last one."""

    orders: Sequence[OrderSummary]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StockView:
    """Pieces of a SKU that are available now. Null where somebody stored what is no number."""

    sku: str
    available: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StockList:
    """SKUs in the order of their names. ``next_cursor`` leads to the next page; null on the last one."""

    inventory: Sequence[StockView]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateOrderView(ProblemView):
    """An order with this id exists. ``order_status`` is null where only its claim is left.

    Where the order is another customer's, neither is told.
    """

    order_status: OrderStatus | None = None
    same_content: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceChangedView(ProblemView):
    """The right ones; null where the products have none. ``skus`` are those without a price."""

    currency: str | None
    amount_total: int | None
    skus: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeveralCurrenciesView(ProblemView):
    """The currencies of the order's products."""

    currencies: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownProductsView(ProblemView):
    """The SKUs that have no product."""

    skus: Sequence[str]


_WHERE_KNOWN: Final = frozenset(("trouble", "customer", "currency", "amount_total"))


def as_json(view: OrderSummary) -> dict[str, Any]:
    """The order, with trouble, customer and prices left out where there are none."""
    shown = ((field.name, getattr(view, field.name)) for field in fields(view))
    return {name: value for name, value in shown if value is not None or name not in _WHERE_KNOWN}


def receipt_json(order_id: str, prices: Prices | None) -> dict[str, Any]:
    """An :class:`OrderReceipt`, with the prices where they are known."""
    path = order_path(order_id)
    return {
        "id": order_id,
        "status": OrderStatus.ACCEPTED,
        "message": received(order_id),
        "links": Links(self=path),
        **members(prices),
    }


def received(order_id: str) -> str:
    """The receipt in one line."""
    return f"Order received: {order_id}"


def price_changed_members(order: Order, prices: Prices | None) -> dict[str, Any]:
    """What a :class:`PriceChangedView` has beside the standard members."""
    return {
        "currency": None,
        "amount_total": None,
        **members(prices),
        "skus": unpriced_skus(order, prices),
    }


def in_words(order: Order, prices: Prices | None) -> str:
    """What an order costs, or why that is not known."""
    if prices is not None and prices.amount_total is not None:
        return f"the order costs {written(prices.amount_total, prices.currency)}"
    missing = unpriced_skus(order, prices)
    others = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
    return f"there is no price for {', '.join(missing[:MOST_NAMED])}{others}"


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
        "next_attempt_at": record.next_attempt_at,
        "correlation_id": record.trace.correlation_id,
        "links": Links(self=order_path(order.id)),
        **members(record.prices),
    }
