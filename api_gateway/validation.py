"""From the JSON of a body to what was asked for, or to a problem that names every field at fault."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from api_gateway.schemas import OrderBody, SingleItemBody, StockBody, StockChangeBody
from shared.http.problems import INVALID_FIELDS, FieldError, invalid, printable
from shared.messages import OrderItem

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

Body = TypeVar("Body", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedOrder:
    """An order as it was asked for. ``id`` is None where the server is to make one."""

    id: str | None
    items: tuple[OrderItem, ...]
    email: str | None


def read_order(value: Any, *, id_required: bool) -> RequestedOrder:
    """Either form of an order. Raises Problem with 422."""
    is_single = isinstance(value, dict) and "items" not in value and ("sku" in value or "qty" in value)
    form = SingleItemBody if is_single else OrderBody
    errors: list[FieldError] = []
    body: SingleItemBody | OrderBody | None = None
    try:
        body = form.model_validate(value)
    except ValidationError as error:
        errors += [_beside_items(fault) for fault in _field_errors(error)]
    items = _items(body) if body is not None else ()
    errors += _repeated_skus(items)
    if id_required and isinstance(value, dict) and value.get("id") is None:
        errors.append(_ID_MISSING)
    if body is None or errors:
        raise invalid(INVALID_FIELDS, errors)
    return RequestedOrder(id=body.id, items=items, email=body.email)


def read_stock(value: Any) -> int:
    """What ``PUT /inventory/{sku}`` sets, in pieces. Raises Problem with 422."""
    return _validated(StockBody, value).available


def read_stock_change(value: Any) -> int:
    """By how much ``PATCH /inventory/{sku}`` changes, in pieces. Raises Problem with 422."""
    delta = _validated(StockChangeBody, value).delta
    if delta == 0:
        raise invalid(INVALID_FIELDS, [FieldError(field="delta", message="must not be 0")])
    return delta


def _validated(form: type[Body], value: Any) -> Body:
    try:
        return form.model_validate(value)
    except ValidationError as error:
        raise invalid(INVALID_FIELDS, _field_errors(error)) from error


def _items(body: SingleItemBody | OrderBody) -> tuple[OrderItem, ...]:
    if isinstance(body, SingleItemBody):
        return (OrderItem(sku=body.sku, qty=body.qty),)
    return tuple(OrderItem(sku=item.sku, qty=item.qty) for item in body.items)


def _repeated_skus(items: Sequence[OrderItem]) -> list[FieldError]:
    first: dict[str, int] = {}
    return [
        FieldError(field=f"items.{index}.sku", message=f"is the same SKU as items.{first[item.sku]}.sku")
        for index, item in enumerate(items)
        if first.setdefault(item.sku, index) != index
    ]


def _field_errors(error: ValidationError) -> list[FieldError]:
    return [
        FieldError(field=_path(fault["loc"]), message=_message(fault))
        for fault in error.errors(include_url=False, include_input=False)
    ]


def _beside_items(error: FieldError) -> FieldError:
    is_mixed_up = error.field in ("sku", "qty") and error.message == _MESSAGES["extra_forbidden"]
    return FieldError(field=error.field, message=_BESIDE_ITEMS) if is_mixed_up else error


def _path(location: tuple[int | str, ...]) -> str:
    return printable(".".join(str(part) for part in location)) or WHOLE_BODY


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
