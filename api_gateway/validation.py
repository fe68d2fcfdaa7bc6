"""From the JSON of a body to the order or the stock that was asked for, or to a problem."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from api_gateway.schemas import (
    ItemBody,
    OptionalEmail,
    OptionalId,
    OptionalTime,
    OrderBody,
    SingleItemBody,
    StatusBody,
    StockBody,
    StockChangeBody,
)
from shared.http.problems import INVALID_FIELDS, FieldError, invalid
from shared.http.validation import REQUIRED, UNKNOWN_FIELD, faults, read_fields, validated
from shared.instants import read_instant
from shared.messages import MAX_ITEMS, OrderItem, OrderItems
from shared.orders.model import OrderStatus
from shared.prices import AmountTotal, Cost, Currency
from shared.products.schemas import ProductStockBody, ProductStockChangeBody

_ID_MISSING: Final = FieldError(field="id", message="is required unless an Idempotency-Key header is sent")
_ITEMS_MISSING: Final = "is required (or sku and qty, for an order of one item)"
_BESIDE_ITEMS: Final = "must not stand beside items: send either items, or sku and qty"

_SOUND_ITEM: Final = {"sku": "a", "qty": 1}
_ITEM_SIZE: Final = len(ItemBody.model_fields)
LONGEST_SOUND_BODY: Final = 1_024
"""In bytes, of what is tried in one pass: pydantic would note hundreds of faults in a longer one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedOrder:
    """An order as it was asked for. ``id`` is None where the server is to make one."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    id: OptionalId = None
    items: OrderItems
    email: OptionalEmail = None
    currency: Currency | None = None
    amount_total: AmountTotal | None = None
    not_before: OptionalTime = None

    @property
    def expected(self) -> Cost:
        """What the client takes the prices to be."""
        return Cost(currency=self.currency, amount_total=self.amount_total)

    @property
    def begins(self) -> int | None:
        """When the order begins, in microseconds since the epoch; None for at once."""
        return None if self.not_before is None else read_instant(self.not_before)


_SOUND_ORDER: Final = TypeAdapter(RequestedOrder)


def read_order(value: Any, *, id_required: bool) -> RequestedOrder:
    """Either form of an order. Raises Problem with 422."""
    is_single = isinstance(value, dict) and "items" not in value and ("sku" in value or "qty" in value)
    form: type[SingleItemBody | OrderBody] = SingleItemBody if is_single else OrderBody
    body = validated(form, value) if _has_sound_size(value) else None
    if body is None or _is_repeated(items := _items(body)) or (id_required and body.id is None):
        raise invalid(INVALID_FIELDS, _order_faults(form, value, id_required=id_required))
    return _requested(body, items)


def read_sound_order(body: bytes, *, id_required: bool) -> RequestedOrder | None:
    """What `parse` and :func:`read_order` make of a body, in one pass; None where they have to say it.

    pydantic takes the last of equal keys. Without a backslash in it, a text has two quotation marks for each
    key and each string, so there are more where a key stands twice.
    """
    if len(body) > LONGEST_SOUND_BODY or b"\\" in body:
        return None
    try:
        if b'"items"' in body:
            order = _SOUND_ORDER.validate_json(body)
            texts = 1 + 3 * len(order.items)
        else:
            single = SingleItemBody.model_validate_json(body)
            order = _requested(single, _items(single))
            texts = 3
    except ValidationError:
        return None
    texts += 2 * sum(text is not None for text in (order.id, order.email, order.currency, order.not_before))
    texts += order.amount_total is not None
    if body.count(b'"') != 2 * texts or (id_required and order.id is None):
        return None
    return order


@dataclass(frozen=True, slots=True)
class StatusChange:
    """What an order is to become."""

    status: OrderStatus
    reason: str


def read_status_change(value: Any) -> StatusChange:
    """What ``PATCH /orders/{id}/status`` asks for. Raises Problem with 422."""
    body = read_fields(StatusBody, value)
    return StatusChange(OrderStatus(body.status), body.reason or "")


def read_stock(value: Any) -> int:
    """What ``PUT /inventory/{sku}`` sets, in pieces. Raises Problem with 422."""
    return read_fields(StockBody, value).available


def read_stock_change(value: Any) -> int:
    """By how much ``PATCH /inventory/{sku}`` changes, in pieces. Raises Problem with 422."""
    return _other_than_zero(read_fields(StockChangeBody, value).delta)


def _other_than_zero(delta: int) -> int:
    if delta == 0:
        raise invalid(INVALID_FIELDS, [FieldError(field="delta", message="must not be 0")])
    return delta


@dataclass(frozen=True, slots=True)
class ProductStockChange:
    """What is available from now on, or by how many pieces that changes."""

    pieces: int
    is_new_level: bool


def read_product_stock(value: Any) -> ProductStockChange:
    """What ``PATCH /products/{sku}/stock`` asks for. Raises Problem with 422."""
    if isinstance(value, dict) and "delta" in value:
        return ProductStockChange(_other_than_zero(read_fields(ProductStockChangeBody, value).delta), False)
    return ProductStockChange(read_fields(ProductStockBody, value).stock, True)


def _has_sound_size(value: Any) -> bool:
    items = value.get("items") if isinstance(value, dict) else None
    return not isinstance(items, list) or (
        len(items) <= MAX_ITEMS and max(map(_size, items), default=0) <= _ITEM_SIZE
    )


def _size(item: Any) -> int:
    return len(item) if isinstance(item, dict) else 0


def _order_faults(form: type[BaseModel], value: Any, *, id_required: bool) -> Iterator[FieldError]:
    items = value.get("items") if isinstance(value, dict) else None
    stand_ins: dict[str, Any] = {}
    if isinstance(items, list):  # only their number counts at first; each of them is looked at below
        stand_ins["items"] = [_SOUND_ITEM] * min(len(items), MAX_ITEMS + 1)
    for fault in faults(form, value, stand_ins=stand_ins):
        yield _in_words_of_orders(fault)
    if isinstance(items, list) and len(items) <= MAX_ITEMS:
        for index, item in enumerate(items):
            yield from faults(ItemBody, item, f"items.{index}.")
    if isinstance(value, dict):
        if id_required and value.get("id") is None:
            yield _ID_MISSING
        yield from _repeated_skus(items)


def _in_words_of_orders(fault: FieldError) -> FieldError:
    if fault.field in ("sku", "qty") and fault.message == UNKNOWN_FIELD:
        return FieldError(field=fault.field, message=_BESIDE_ITEMS)
    if fault.field == "items" and fault.message == REQUIRED:
        return FieldError(field=fault.field, message=_ITEMS_MISSING)
    return fault


def _requested(body: SingleItemBody | OrderBody, items: tuple[OrderItem, ...]) -> RequestedOrder:
    return RequestedOrder(
        id=body.id,
        items=items,
        email=body.email,
        currency=body.currency,
        amount_total=body.amount_total,
        not_before=body.not_before,
    )


def _items(body: SingleItemBody | OrderBody) -> tuple[OrderItem, ...]:
    if isinstance(body, SingleItemBody):
        return (OrderItem(sku=body.sku, qty=body.qty),)
    return tuple(OrderItem(sku=item.sku, qty=item.qty) for item in body.items)


def _is_repeated(items: Sequence[OrderItem]) -> bool:
    return len({item.sku for item in items}) != len(items)


def _repeated_skus(items: Any) -> Iterator[FieldError]:
    first: dict[str, int] = {}
    for index, item in enumerate(items[:MAX_ITEMS] if isinstance(items, list) else []):
        sku = item.get("sku") if isinstance(item, dict) else None
        if isinstance(sku, str) and first.setdefault(sku, index) != index:
            yield FieldError(field=f"items.{index}.sku", message=f"is the same SKU as items.{first[sku]}.sku")
