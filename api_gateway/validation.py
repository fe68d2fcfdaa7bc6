"""From the JSON of a body to what was asked for, or to a problem that names every field at fault."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from api_gateway.schemas import (
    ItemBody,
    OptionalEmail,
    OptionalId,
    OrderBody,
    SingleItemBody,
    StockBody,
    StockChangeBody,
)
from shared.http.problems import INVALID_FIELDS, FieldError, invalid, printable
from shared.messages import MAX_ITEMS, OrderItem, OrderItems
from shared.text import visible

WHOLE_BODY: Final = "body"
IDENTIFIER_RULE: Final = (
    "must be 1 to 64 letters, digits, dots, hyphens or underscores, and begin with a letter or digit"
)
_ID_MISSING: Final = FieldError(field="id", message="is required unless an Idempotency-Key header is sent")
_MESSAGES: Final = {
    "missing": "is required",
    "extra_forbidden": "is not a field of this request",
    "int_type": "must be a whole number",
    "string_type": "must be a string",
    "string_unicode": "must not contain lone surrogates",
    "string_too_long": "must have at most {max_length} characters",
    "list_type": "must be a list",
    "model_type": "must be an object",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must have at least {min_length} entry",
    "too_long": "must have at most {max_length} entries",
}
_BESIDE_ITEMS: Final = "must not stand beside items: send either items, or sku and qty"

_SOUND_ITEM: Final = {"sku": "a", "qty": 1}
_ITEM_SIZE: Final = len(ItemBody.model_fields)
LONGEST_SOUND_BODY: Final = 1_024
"""In bytes, of what is tried in one pass: pydantic would note hundreds of faults in a longer one."""

Body = TypeVar("Body", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedOrder:
    """An order as it was asked for. ``id`` is None where the server is to make one."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    id: OptionalId = None
    items: OrderItems
    email: OptionalEmail = None


_SOUND_ORDER: Final = TypeAdapter(RequestedOrder)


def read_order(value: Any, *, id_required: bool) -> RequestedOrder:
    """Either form of an order. Raises Problem with 422."""
    is_single = isinstance(value, dict) and "items" not in value and ("sku" in value or "qty" in value)
    form: type[SingleItemBody | OrderBody] = SingleItemBody if is_single else OrderBody
    body = _validated(form, value)
    if body is None or _is_repeated(items := _items(body)) or (id_required and body.id is None):
        raise invalid(INVALID_FIELDS, _order_faults(form, value, id_required=id_required))
    return RequestedOrder(id=body.id, items=items, email=body.email)


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
            order = RequestedOrder(id=single.id, items=_items(single), email=single.email)
            texts = 3
    except ValidationError:
        return None
    texts += 2 * ((order.id is not None) + (order.email is not None))
    if body.count(b'"') != 2 * texts or (id_required and order.id is None):
        return None
    return order


def read_stock(value: Any) -> int:
    """What ``PUT /inventory/{sku}`` sets, in pieces. Raises Problem with 422."""
    body = _validated(StockBody, value)
    if body is None:
        raise invalid(INVALID_FIELDS, _faults(StockBody, value))
    return body.available


def read_stock_change(value: Any) -> int:
    """By how much ``PATCH /inventory/{sku}`` changes, in pieces. Raises Problem with 422."""
    body = _validated(StockChangeBody, value)
    if body is None:
        raise invalid(INVALID_FIELDS, _faults(StockChangeBody, value))
    if body.delta == 0:
        raise invalid(INVALID_FIELDS, [FieldError(field="delta", message="must not be 0")])
    return body.delta


def _validated(form: type[Body], value: Any) -> Body | None:
    """The body, or None where anything is wrong; :func:`_faults` then says what.

    pydantic builds an error for each of thousands of faults before it shows one, so it is only asked about
    what has the size of a sound body.
    """
    if not isinstance(value, dict) or len(value) > len(form.model_fields):
        return None
    items = value.get("items")
    if isinstance(items, list) and (len(items) > MAX_ITEMS or max(map(_size, items), default=0) > _ITEM_SIZE):
        return None
    try:
        return form.model_validate(value)
    except ValidationError:
        return None


def _size(item: Any) -> int:
    return len(item) if isinstance(item, dict) else 0


def _order_faults(form: type[BaseModel], value: Any, *, id_required: bool) -> Iterator[FieldError]:
    for fault in _faults(form, value):
        is_mixed_up = fault.field in ("sku", "qty") and fault.message == _MESSAGES["extra_forbidden"]
        yield FieldError(field=fault.field, message=_BESIDE_ITEMS) if is_mixed_up else fault
    if isinstance(value, dict):
        if id_required and value.get("id") is None:
            yield _ID_MISSING
        yield from _repeated_skus(value.get("items"))


def _faults(form: type[BaseModel], value: Any, path: str = "") -> Iterator[FieldError]:
    """What is wrong, one fault after the other, so that the work ends where the caller stops asking."""
    if not isinstance(value, dict):
        yield FieldError(field=path.rstrip(".") or WHOLE_BODY, message=_MESSAGES["model_type"])
        return
    fields = {name: value[name] for name in form.model_fields if name in value}
    items = fields.get("items")
    if isinstance(items, list):  # here only their number counts; each of them is looked at below
        fields["items"] = [_SOUND_ITEM] * min(len(items), MAX_ITEMS + 1)
    try:
        form.model_validate(fields)
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=False):
            yield FieldError(field=f"{path}{_path(fault['loc'])}", message=_message(fault))
    for name in value:
        if name not in form.model_fields:
            yield FieldError(field=printable(f"{path}{visible(name)}"), message=_MESSAGES["extra_forbidden"])
    if isinstance(items, list) and len(items) <= MAX_ITEMS:
        for index, item in enumerate(items):
            yield from _faults(ItemBody, item, f"items.{index}.")


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


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)


def _message(fault: ErrorDetails) -> str:
    kind, location = fault["type"], fault["loc"]
    if kind == "missing" and location == ("items",):
        return "is required (or sku and qty, for an order of one item)"
    if location == ("email",) and kind in ("string_pattern_mismatch", "value_error"):
        return "must be an e-mail address that a letter can be sent to"
    if kind == "string_pattern_mismatch":
        return IDENTIFIER_RULE
    template = _MESSAGES.get(kind)
    return template.format(**fault.get("ctx", {})) if template else fault["msg"]
