"""Query parameters of lists of orders and of what their customers were told, and pages of them."""

import re
from collections.abc import Mapping
from enum import StrEnum
from functools import partial
from typing import Any, Final

import orjson
from aiohttp import web

from shared.history.earlier import ID_PATTERN, is_order_id
from shared.history.ownership import visible_to
from shared.http.auth import caller_of
from shared.http.listing import LIMIT, NO_CURSOR, ListParameter, cursor_place, cursor_text, read_parameters
from shared.instants import read_instant
from shared.messages import is_identifier
from shared.orders.model import OrderStatus, Trouble
from shared.orders.ports import Cursor, OrderFilter

LONGEST_PAGE: Final = 1_000_000
"""In bytes of what a page shows, so that the whole answer stays within 1 MiB."""
MOST_DAYS: Final = 366
_DAYS: Final = re.compile(r"[0-9]{1,3}")
_NOTE: Final = re.compile(r"([0-9]{1,17}):(" + ID_PATTERN + r"):([0-9]{1,9})")
_PLACE: Final = re.compile(r"([0-9]{1,17}):(" + ID_PATTERN + r")")


def order_cursor(accepted_at: int, order_id: str) -> str:
    """What leads on from an order that was accepted at that microsecond."""
    return cursor_text(f"{accepted_at}:{order_id}")


class BoundedPage:
    """What a page shows, bounded in number and in bytes; the first one has room in any case."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._room = LONGEST_PAGE
        self.shown: list[orjson.Fragment] = []

    @property
    def is_full(self) -> bool:
        """Whether it shows as many as it may."""
        return len(self.shown) >= self._limit

    def take(self, view: Mapping[str, Any]) -> bool:
        """Shows one more, unless there is no room for it."""
        text = orjson.dumps(view, option=orjson.OPT_UTC_Z)
        self._room -= len(text) + 1
        if self.is_full or (self._room < 0 and self.shown):
            return False
        self.shown.append(orjson.Fragment(text))
        return True


def _days(value: str) -> int:
    days = int(value) if _DAYS.fullmatch(value) else 0
    if not 1 <= days <= MOST_DAYS:
        raise ValueError(f"must be a whole number from 1 to {MOST_DAYS}")
    return days


def _note_cursor(cursor: str) -> tuple[int, str, int]:
    place = _NOTE.fullmatch(cursor_place(cursor))
    if place is None:
        raise ValueError(NO_CURSOR)
    return int(place[1]), place[2], int(place[3])


def _customer(value: str) -> str:
    if not is_identifier(value):
        raise ValueError("must be the id of a customer")
    return value


def _order(value: str) -> str:
    if not is_order_id(value):
        raise ValueError("must be the id of an order")
    return value


def _one_of(kind: type[StrEnum], value: str) -> StrEnum:
    try:
        return kind(value)
    except ValueError:
        raise ValueError(f"must be one of {', '.join(kind)}") from None


def place_of_cursor(cursor: str) -> Cursor:
    """The inverse. Raises ValueError."""
    place = _PLACE.fullmatch(cursor_place(cursor))
    if place is None:
        raise ValueError(NO_CURSOR)
    return Cursor(accepted_at=int(place[1]), order_id=place[2])


STATUS: Final = ListParameter(parse=partial(_one_of, OrderStatus))
TROUBLE: Final = ListParameter(parse=partial(_one_of, Trouble))
CUSTOMER: Final = ListParameter(parse=_customer)
ORDER_ID: Final = ListParameter(parse=_order)
TIME: Final = ListParameter(parse=read_instant)
DAYS: Final = ListParameter(parse=_days, default=30)
ORDER_CURSOR: Final = ListParameter(parse=place_of_cursor)
TOLD_CURSOR: Final = ListParameter(parse=_note_cursor)
"""When it was, of which order, and which of its steps."""


def orders_asked_for(request: web.Request) -> tuple[OrderFilter | None, int, Cursor | None]:
    """Which orders a list is to have of those that its caller may see, None where that is none; how many of
    them, and after which. Raises Problem with 400.
    """
    asked = read_parameters(
        request,
        status=STATUS,
        trouble=TROUBLE,
        customer=CUSTOMER,
        **{"from": TIME, "to": TIME},
        limit=LIMIT,
        cursor=ORDER_CURSOR,
    )
    limit, after = asked["limit"], asked["cursor"]
    visible = visible_to(caller_of(request), asked["customer"])
    if visible is None:
        return None, limit, after
    wanted = OrderFilter(
        status=asked["status"],
        trouble=asked["trouble"],
        customer=visible.customer,
        unowned=visible.unowned,
        since=asked["from"],
        until=asked["to"],
    )
    return wanted, limit, after
