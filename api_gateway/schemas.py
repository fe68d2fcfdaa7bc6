"""What clients send and what they get, as JSON. ``/openapi.json`` is generated from these same classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from shared.currencies import written
from shared.history.routes import RESERVED_IDS
from shared.history.schemas import Links, order_path
from shared.http.problems import ProblemView
from shared.http.validation import Body
from shared.instants import PATTERN, read_instant
from shared.mailboxes import mailbox
from shared.messages import (
    MAX_ITEMS,
    EmailAddress,
    Identifier,
    Order,
    Quantity,
    epoch_microseconds,
    event_time,
)
from shared.orders.model import OrderStatus, Payment
from shared.orders.placement import unpriced_skus
from shared.prices import AmountTotal, Currency, Prices, members

MAX_STOCK = 10**12
MOST_NAMED = 5
LONGEST_AHEAD_SECONDS: Final = 90 * 86_400
REASON_PATTERN: Final = r"^[^\x00-\x1f\x7f-\x9f]{1,200}$"


def _not_reserved(order_id: str) -> str:
    if order_id in RESERVED_IDS:
        raise ValueError("is the name of another route: choose another id")
    return order_id


OptionalId = Annotated[
    Annotated[
        Identifier,
        AfterValidator(_not_reserved),
        Field(json_schema_extra={"not": {"enum": sorted(RESERVED_IDS)}}),
    ]
    | None,
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


def _within_reach(moment: str) -> str:
    """The time as it was sent. Raises ValueError for what is none, or is too far ahead."""
    if read_instant(moment) - epoch_microseconds(datetime.now(UTC)) > LONGEST_AHEAD_SECONDS * 1_000_000:
        raise ValueError("must be at most 90 days ahead")
    return moment


OptionalTime = Annotated[
    Annotated[
        str,
        Field(json_schema_extra={"format": "date-time", "pattern": f"^{PATTERN}$"}),
        AfterValidator(_within_reach),
    ]
    | None,
    Field(
        description="When the order begins, at most 90 days ahead: stock is taken then, and it can be "
        "cancelled until then."
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
    not_before: OptionalTime = None


class SingleItemBody(Body):
    """Shorthand for an order of one item."""

    id: OptionalId = None
    sku: Identifier
    qty: Quantity
    email: OptionalEmail = None
    currency: ExpectedCurrency = None
    amount_total: ExpectedTotal = None
    not_before: OptionalTime = None


class StatusBody(Body):
    """What the order is to become, and why."""

    status: Literal[OrderStatus.PROCESSING, OrderStatus.SHIPPED, OrderStatus.DELIVERED, OrderStatus.CANCELLED]
    reason: Annotated[str, Field(pattern=REASON_PATTERN)] | None = None


class PreferencesBody(Body):
    """Whether a customer wants to be told of orders by mail, and by the own webhooks."""

    mail: Annotated[bool, Field(strict=True)]
    webhook: Annotated[bool, Field(strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferencesView:
    """By which channels a customer is told of orders: by all of them where nothing else was chosen."""

    mail: bool
    webhook: bool


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
class OrderReceipt:
    """The order has been taken and will be decided.

    ``currency`` is there where any of its products has a price, ``amount_total`` where each has one,
    ``not_before`` where it is scheduled.
    """

    id: str
    status: Literal[OrderStatus.ACCEPTED, OrderStatus.SCHEDULED]
    message: str
    links: Links
    currency: str | None = None
    amount_total: int | None = None
    not_before: datetime | None = None


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
class IllegalMoveView(ProblemView):
    """Where the order stands, and what it may become by a request."""

    order_status: OrderStatus
    allowed: Sequence[OrderStatus]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotPaidView(IllegalMoveView):
    """Where the payment of the order stands, too."""

    payment: Payment


@dataclass(frozen=True, slots=True, kw_only=True)
class SeveralCurrenciesView(ProblemView):
    """The currencies of the order's products."""

    currencies: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownProductsView(ProblemView):
    """The SKUs that have no product."""

    skus: Sequence[str]


def receipt_json(order_id: str, prices: Prices | None, not_before: int | None = None) -> dict[str, Any]:
    """An :class:`OrderReceipt`, with the prices where they are known."""
    path = order_path(order_id)
    later = {} if not_before is None else {"not_before": event_time(not_before)}
    return {
        "id": order_id,
        "status": OrderStatus.SCHEDULED if later else OrderStatus.ACCEPTED,
        "message": received(order_id),
        "links": Links(self=path),
        **members(prices),
        **later,
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
