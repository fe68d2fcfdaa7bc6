"""Query parameters of lists, and the opaque cursor that leads from page to page."""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from aiohttp import web

from shared.http.problems import INVALID_PARAMETER, FieldError, invalid, printable
from shared.http.routes import Parameter
from shared.messages import is_identifier

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
NO_CURSOR: Final = "is not a cursor that this list gave out"
PAGE: Final = (
    Parameter(
        name="limit",
        description="How many at most; fewer where the page would be longer than 1 MiB.",
        schema={"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    ),
    Parameter(
        name="cursor",
        description="The `next_cursor` of the page before.",
        schema={"type": "string", "pattern": "^[A-Za-z0-9_-]+$", "maxLength": 128},
    ),
)
"""What every list takes, for its route's description."""
_LIMIT: Final = re.compile(r"[0-9]{1,4}")
_CURSOR: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListParameter:
    """A parameter that may be left out. ``parse`` raises ValueError with what is wrong."""

    parse: Callable[[str], Any]
    default: Any = None


def maybe(parameter: ListParameter) -> ListParameter:
    """The same for forms, which send what was left empty, and blanks around what was pasted."""

    def parse(text: str) -> Any:
        return parameter.parse(text.strip()) if text.strip() else parameter.default

    return replace(parameter, parse=parse)


def read_parameters(request: web.Request, **known: ListParameter) -> dict[str, Any]:
    """The value of each known parameter. Raises Problem with 400 that names each parameter at fault."""
    query = request.query
    errors = [
        FieldError(field=printable(name), message="is not a parameter of this list")
        for name in dict.fromkeys(query)
        if name not in known
    ]
    read: dict[str, Any] = {}
    for name, parameter in known.items():
        values = query.getall(name, [])
        read[name] = parameter.default
        if len(values) > 1:
            errors.append(FieldError(field=name, message="stands more than once"))
        elif values:
            try:
                read[name] = parameter.parse(values[0])
            except ValueError as error:
                errors.append(FieldError(field=name, message=str(error)))
    if errors:
        raise invalid(INVALID_PARAMETER, errors)
    return read


def cursor_text(place: str) -> str:
    """A place as clients carry it: opaque, and safe in a URL."""
    return base64.urlsafe_b64encode(place.encode("ascii")).rstrip(b"=").decode("ascii")


def cursor_place(cursor: str) -> str:
    """The inverse of :func:`cursor_text`. Raises ValueError."""
    if not _CURSOR.fullmatch(cursor) or len(cursor) % 4 == 1:
        raise ValueError(NO_CURSOR)
    place = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    if not place.isascii():
        raise ValueError(NO_CURSOR)
    return place.decode("ascii")


def _limit(value: str) -> int:
    limit = int(value) if _LIMIT.fullmatch(value) else 0
    if not 1 <= limit <= MAX_LIMIT:
        raise ValueError(f"must be a whole number from 1 to {MAX_LIMIT}")
    return limit


def _identifier(cursor: str) -> str:
    place = cursor_place(cursor)
    if not is_identifier(place):
        raise ValueError(NO_CURSOR)
    return place


LIMIT: Final = ListParameter(parse=_limit, default=DEFAULT_LIMIT)
AFTER_SKU: Final = ListParameter(parse=_identifier, default="")
"""The cursor of lists that are sorted by SKU; '' stands for the first page."""
