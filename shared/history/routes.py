"""The tables of the routes about orders that are read, and about their history."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from shared.history.earlier import ID_PATTERN
from shared.history.listing import MOST_DAYS
from shared.history.schemas import OrderList, OrderStatistics, OrderView, ToldList
from shared.http.auth import Access
from shared.http.listing import PAGE
from shared.http.problems import (
    DATABASE_UNAVAILABLE,
    INVALID_PARAMETER,
    NOT_FOUND,
    TOO_BUSY,
    ProblemType,
)
from shared.http.routes import Handler, Parameter, Route
from shared.messages import IDENTIFIER_PATTERN
from shared.orders.model import OrderStatus, Trouble

TAG: Final = "orders"
HISTORY: Final = "history"
TAGS: Final = {HISTORY: "What customers were told, and what all orders come to."}
DAYS_PARAMETER: Final = Parameter(
    name="days",
    description="How many days back the list of days goes.",
    schema={"type": "integer", "minimum": 1, "maximum": MOST_DAYS, "default": 30},
)
RESERVED_IDS: Final = frozenset({"stats"})
"""What stands at the place of an order's id in the path of another route."""


def _identifier(name: str, description: str) -> Parameter:
    schema = {"type": "string", "pattern": IDENTIFIER_PATTERN}
    return Parameter(name=name, description=description, schema=schema)


def _instant(name: str, description: str) -> Parameter:
    return Parameter(name=name, description=description, schema={"type": "string", "format": "date-time"})


_FILTERS: Final = (
    Parameter(
        name="status",
        description="Only orders of this status.",
        schema={"type": "string", "enum": [status.value for status in OrderStatus]},
    ),
    Parameter(
        name="trouble",
        description="Only undecided orders in this trouble.",
        schema={"type": "string", "enum": [trouble.value for trouble in Trouble]},
    ),
    _identifier("customer", "Only orders of the customer with this id, for who may see them."),
    _instant("from", "Only orders that were accepted then or later."),
    _instant("to", "Only orders that were accepted before."),
)


def order_reads(
    handlers: Callable[[str], Handler], problems: Sequence[ProblemType] = (DATABASE_UNAVAILABLE,)
) -> tuple[Route, ...]:
    """Following orders: the gateway answers from the store and from the ledger, the ledger by itself."""
    return (
        Route(
            path="/orders",
            handler=handlers("listOrders"),
            access=Access.CUSTOMER,
            name="listOrders",
            tag=TAG,
            summary="List orders, newest first",
            description="Without their timelines. A customer sees the own ones, an operator all, without a "
            "token those of no customer. Follow `next_cursor` until it is null; a page may be short. While "
            "the ledger is away old orders are missing, and `complete` is false.",
            meaning="A page of orders.",
            answer=OrderList,
            parameters=(*_FILTERS, *PAGE),
            problems=(INVALID_PARAMETER, *problems, TOO_BUSY),
        ),
        Route(
            path="/orders/{id}",
            handler=handlers("getOrder"),
            access=Access.CUSTOMER,
            name="getOrder",
            tag=TAG,
            summary="Show an order with its timeline",
            description="Each step has its time, and its reason and attempts where there are any. An "
            "order whose id was used again after its retention stands under `id~microseconds`, as in lists.",
            meaning="The order as it stands.",
            answer=OrderView,
            headers={200: ("ETag",)},
            problems=(NOT_FOUND, *problems, TOO_BUSY),
        ),
    )


def history_table(handlers: Callable[[str], Handler]) -> tuple[Route, ...]:
    """What the ledger alone can say, each with the handler of its name."""

    def route(name: str, **further: Any) -> Route:
        problems = (INVALID_PARAMETER, DATABASE_UNAVAILABLE, TOO_BUSY)
        return Route(handler=handlers(name), name=name, tag=HISTORY, problems=problems, **further)

    return (
        route(
            "listNotifications",
            path="/notifications",
            access=Access.CUSTOMER,
            summary="List what customers were told, newest first",
            description="Each time that a customer was told of a step of an order, or could not be. "
            "A customer sees what is about the own orders, an operator all, without a token what is about "
            "orders of no customer. Follow `next_cursor` until it is null; a page may be short.",
            meaning="A page of notifications.",
            answer=ToldList,
            parameters=(
                Parameter(
                    name="order_id",
                    description="Only what is about this order.",
                    schema={"type": "string", "pattern": f"^{ID_PATTERN}$"},
                ),
                *PAGE,
            ),
        ),
        route(
            "getOrderStatistics",
            path="/orders/stats",
            access=Access.OPERATOR,
            summary="What all orders come to",
            description="By status, currency and day in UTC, of all years; a second old at most.",
            meaning="The statistics.",
            answer=OrderStatistics,
            parameters=(DAYS_PARAMETER,),
        ),
    )
