"""Placing an order, and the values in which the store answers."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.errors import PipelineError
from shared.messages import Order, Trace
from shared.orders.model import OrderStatus
from shared.prices import Cost, Prices


class ScheduleFull(PipelineError):
    """Raised when too many orders wait for their time. Nothing was accepted."""


class OwnScheduleFull(PipelineError):
    """Raised when too many orders of this customer wait for their time. Nothing was accepted."""


class OutboxFull(PipelineError):
    """Raised when too many orders wait for a broker, or this one has no room. Nothing was accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A request to place an order.

    ``client_named_id`` is False where the server made the order's id up. ``media_type`` is that of the
    answer, kept so that a replay answers in the same form. Without ``has_room`` a new order is refused.
    ``expected`` is what the client takes the prices to be, ``customer`` whose the order will be. ``order`` is
    what is stored; ``sent``, by which requests are compared, what came in, where the server added to it.
    ``not_before`` is when it begins, in microseconds since the epoch, None for at once.
    """

    order: Order
    client_named_id: bool
    idempotency_key: str | None
    media_type: str
    trace: Trace
    has_room: bool = True
    expected: Cost = field(default_factory=Cost)
    customer: str | None = None
    sent: Order | None = None
    not_before: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The order exists and will be decided, at these prices; None where none of its products has one.

    ``not_before`` is when it begins, in microseconds since the epoch, where that is later.
    """

    order_id: str
    prices: Prices | None = None
    not_before: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """The same ``Idempotency-Key`` came with the same content before: answer as then."""

    order_id: str
    media_type: str
    prices: Prices | None = None
    not_before: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """An order with this id exists, a customer's or nobody's; without ``status`` only its claim is left."""

    order_id: str
    status: OrderStatus | None
    same_content: bool
    customer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyReused:
    """The ``Idempotency-Key`` belongs to other content."""

    order_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceChanged:
    """The client expected other prices than these, or prices where there are none; nothing was accepted."""

    order_id: str
    prices: Prices | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeveralCurrencies:
    """The products have their prices in different currencies; nothing was accepted."""

    order_id: str
    currencies: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownProducts:
    """These SKUs have no product, and the gateway refuses such orders; nothing was accepted."""

    order_id: str
    skus: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenProduct:
    """What stands at this key in the store is no price; nothing was accepted."""

    order_id: str
    key: str


Unpriceable = PriceChanged | SeveralCurrencies | UnknownProducts | BrokenProduct
"""Why an order has no price, or not the expected one."""
PlacementResult = Accepted | Replayed | Duplicate | KeyReused | Unpriceable


def unpriced_skus(order: Order, prices: Prices | None) -> Sequence[str]:
    """The SKUs of an order that have no price."""
    lines = prices.lines if prices is not None else [None] * len(order.items)
    return [item.sku for item, line in zip(order.items, lines, strict=True) if line is None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """The store's answer to a placement.

    ``accepted_at`` is in microseconds since the epoch where the order is new and begins at once, else None;
    ``waiting`` says whether a replayed order still lies in the outbox.
    """

    result: PlacementResult
    accepted_at: int | None = None
    waiting: bool = False
