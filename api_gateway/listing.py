"""Query parameters of the list of orders."""

import re
from enum import StrEnum
from functools import partial
from typing import Final

from shared.http.listing import NO_CURSOR, ListParameter, cursor_place
from shared.messages import is_identifier
from shared.orders.model import OrderStatus, Trouble
from shared.orders.ports import Cursor

_PLACE: Final = re.compile(r"([0-9]{1,17}):([A-Za-z0-9][A-Za-z0-9._-]{0,63})")


def order_cursor(cursor: Cursor) -> str:
    """The place of an order, for :func:`cursor_text`."""
    return f"{cursor.accepted_at}:{cursor.order_id}"


def _one_of(kind: type[StrEnum], value: str) -> StrEnum:
    try:
        return kind(value)
    except ValueError:
        raise ValueError(f"must be one of {', '.join(kind)}") from None


def _order_cursor(cursor: str) -> Cursor:
    place = _PLACE.fullmatch(cursor_place(cursor))
    if place is None:
        raise ValueError(NO_CURSOR)
    return Cursor(accepted_at=int(place[1]), order_id=place[2])


def _customer(value: str) -> str:
    if not is_identifier(value):
        raise ValueError("must be the id of a customer")
    return value


STATUS: Final = ListParameter(parse=partial(_one_of, OrderStatus))
TROUBLE: Final = ListParameter(parse=partial(_one_of, Trouble))
CUSTOMER: Final = ListParameter(parse=_customer)
ORDER_CURSOR: Final = ListParameter(parse=_order_cursor)
