"""The query of ``GET /orders``, and the cursor that leads from page to page."""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from aiohttp import web

from shared.http.problems import INVALID_PARAMETER, FieldError, invalid, printable
from shared.orders.model import OrderStatus
from shared.orders.ports import Cursor

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
PARAMETERS: Final = ("status", "limit", "cursor")
_LIMIT: Final = re.compile(r"[0-9]{1,4}")
_CURSOR: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_PLACE: Final = re.compile(rb"([0-9]{1,17}):([A-Za-z0-9][A-Za-z0-9._-]{0,63})")

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """Which orders to list."""

    status: OrderStatus | None
    limit: int
    after: Cursor | None


def read_query(request: web.Request) -> ListQuery:
    """Which orders are asked for. Raises Problem with 400 that names each parameter at fault."""
    query = request.query
    errors = [
        FieldError(field=printable(name), message="is not a parameter of this list")
        for name in dict.fromkeys(query)
        if name not in PARAMETERS
    ]

    def read(name: str, parse: Callable[[str], Value], default: Value) -> Value:
        values = query.getall(name, [])
        if len(values) > 1:
            errors.append(FieldError(field=name, message="stands more than once"))
        elif values:
            try:
                return parse(values[0])
            except ValueError as error:
                errors.append(FieldError(field=name, message=str(error)))
        return default

    result = ListQuery(
        status=read("status", _status, None),
        limit=read("limit", _limit, DEFAULT_LIMIT),
        after=read("cursor", _cursor, None),
    )
    if errors:
        raise invalid(INVALID_PARAMETER, errors)
    return result


def cursor_text(cursor: Cursor) -> str:
    """The cursor as clients carry it: opaque, and safe in a URL."""
    place = f"{cursor.accepted_at}:{cursor.order_id}".encode("ascii")
    return base64.urlsafe_b64encode(place).rstrip(b"=").decode("ascii")


def _status(value: str) -> OrderStatus | None:
    try:
        return OrderStatus(value)
    except ValueError:
        raise ValueError(f"must be one of {', '.join(OrderStatus)}") from None


def _limit(value: str) -> int:
    limit = int(value) if _LIMIT.fullmatch(value) else 0
    if not 1 <= limit <= MAX_LIMIT:
        raise ValueError(f"must be a whole number from 1 to {MAX_LIMIT}")
    return limit


def _cursor(value: str) -> Cursor | None:
    place = None
    if _CURSOR.fullmatch(value) and len(value) % 4 != 1:
        place = _PLACE.fullmatch(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)))
    if place is None:
        raise ValueError("is not a cursor that this list gave out")
    return Cursor(accepted_at=int(place[1]), order_id=place[2].decode("ascii"))
