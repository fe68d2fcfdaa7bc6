"""The table of the gateway's routes: what is registered, and what ``/openapi.json`` says of it."""

from dataclasses import replace
from typing import Final

from api_gateway.move_routes import MoveRoutes
from api_gateway.order_events import OrderEvents
from api_gateway.order_routes import OrderRoutes
from api_gateway.problems import (
    BROKEN_PRODUCT,
    DUPLICATE_ORDER,
    ILLEGAL_MOVE,
    INVALID_HEADER,
    KEY_REUSED,
    NOT_DURABLE,
    NOT_MOVABLE,
    NOT_PAID,
    ORDER_CHANGED,
    OUTBOX_FULL,
    OWN_SCHEDULE_FULL,
    PRICE_CHANGED,
    SCHEDULE_FULL,
    SEVERAL_CURRENCIES,
    STOCK_HELD,
    STORE_SHORT,
    UNKNOWN_PRODUCTS,
)
from api_gateway.schemas import (
    OrderBody,
    OrderReceipt,
    SingleItemBody,
    StatusBody,
    StockBody,
    StockChangeBody,
    StockList,
    StockView,
)
from api_gateway.session_routes import TAG as SESSIONS
from api_gateway.stock_routes import StockRoutes
from shared.customers.routes import TAGS as CUSTOMERS
from shared.history.routes import TAG as ORDERS, TAGS as HISTORY, order_reads
from shared.history.schemas import OrderView
from shared.http.auth import Access
from shared.http.event_stream import MEDIA_TYPE, last_event_id
from shared.http.listing import PAGE
from shared.http.openapi import Info
from shared.http.problems import FORBIDDEN, INVALID_PARAMETER, NOT_FOUND, STORE_UNAVAILABLE, TOO_BUSY
from shared.http.routes import Parameter, Route
from shared.orders.model import OrderStatus
from shared.products.problems import BROKEN_STOCK, STOCK_OUT_OF_BOUNDS, TOO_MANY_SKUS
from shared.products.routes import TAG as PRODUCTS
from shared.webhooks.routes import TAGS as WEBHOOKS

API_V1: Final = "/api/v1"
"""Under which every path is there once more."""
INFO: Final = Info(
    title="Order pipeline: API gateway",
    description="""\
Takes orders, reserves stock for all of an order or for none of it, and never loses or repeats one.

Every answer carries `X-Correlation-ID`: the caller's, if it sent a sane one, else a new one. Every
error is `application/problem+json`, except a duplicate, which is the line `Duplicate order` for those
who prefer `text/plain`. After no answer to `POST /orders`, or 408 or 5xx, whether the order was
accepted is unknown: ask again with the same id, that converges. 202 says that it is accepted; 409 with
`same_content` true, that it was before. Other 4xx have changed nothing, and the same request gets the
same answer again. `GET` routes answer `HEAD` too.
""",
    prefixes=("", API_V1),
    tags={
        ORDERS: "Placing and following orders.",
        "inventory": "What is in stock, for operators.",
        PRODUCTS: "What can be ordered, and what it costs.",
        **HISTORY,
        **CUSTOMERS,
        **WEBHOOKS,
        SESSIONS: "The same for browsers, with cookies.",
        "shop": "The page for customers.",
        "reference": "This description.",
    },
)
_KEY: Final = Parameter(
    name="Idempotency-Key",
    place="header",
    description="Makes a request safe to repeat: the same key with the same content gets the first answer "
    "again, with other content 422. With it, `id` may be left out.",
    schema={"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
)
_MOVE_KEY: Final = replace(
    _KEY,
    description="Makes a move safe to repeat: the same key with the same status is 200 however far the order "
    "has moved on since, with another status 422.",
)
_ORDER_IF_MATCH: Final = Parameter(
    name="If-Match",
    place="header",
    description="Refuses with 412 unless the order's `ETag` is one of these.",
    schema={"type": "string"},
)


def order_table(orders: OrderRoutes) -> tuple[Route, ...]:
    """Placing and following orders."""
    return (
        Route(
            method="POST",
            path="/orders",
            handler=orders.place,
            access=Access.CUSTOMER,
            name="placeOrder",
            tag="orders",
            summary="Place an order",
            description="All of its items are reserved, or none is. It costs what its products cost at the "
            "moment when it is accepted; send `currency` and `amount_total` to have it refused where that is "
            "not what you expect. `text/plain` is answered only to those "
            "who name it in `Accept` with a q at least as high as JSON's.",
            status=202,
            meaning="The order exists and will be decided.",
            answer=OrderReceipt,
            example={
                "id": "order123",
                "status": OrderStatus.ACCEPTED.value,
                "message": "Order received: order123",
                "links": {"self": "/orders/order123"},
                "currency": "EUR",
                "amount_total": 3998,
            },
            parameters=(_KEY,),
            bodies=(SingleItemBody, OrderBody),
            body_examples={
                "one item": {"id": "order123", "sku": "mag-safe-phone-case", "qty": 2},
                "several items": {
                    "id": "order124",
                    "email": "a@example.com",
                    "currency": "EUR",
                    "amount_total": 4298,
                    "items": [{"sku": "mag-safe-phone-case", "qty": 2}, {"sku": "cable", "qty": 1}],
                },
            },
            problems=(
                INVALID_HEADER,
                DUPLICATE_ORDER,
                KEY_REUSED,
                PRICE_CHANGED,
                SEVERAL_CURRENCIES,
                UNKNOWN_PRODUCTS,
                BROKEN_PRODUCT,
                STORE_UNAVAILABLE,
                NOT_DURABLE,
                OUTBOX_FULL,
                SCHEDULE_FULL,
                OWN_SCHEDULE_FULL,
                STORE_SHORT,
                TOO_BUSY,
            ),
            headers={202: ("Location", "Idempotent-Replayed"), 409: ("Location",), 422: ("Location",)},
            plain={202: "Order received: order123", 409: "Duplicate order"},
        ),
        *order_reads({"listOrders": orders.list, "getOrder": orders.show}.__getitem__, (STORE_UNAVAILABLE,)),
    )


def events_route(events: OrderEvents) -> Route:
    """Following one order as it goes."""
    return Route(
        path="/orders/{id}/events",
        handler=events.stream,
        access=Access.CUSTOMER,
        name="followOrder",
        tag="orders",
        summary="Follow an order as it goes",
        description="Server-sent events: each step of the order that there was and each that comes, until it "
        "is at its end. The `id` of an event is the number of its step; `Last-Event-ID` goes on behind it. A "
        "comment comes every 15 s while nothing happens, an event `end` at last.",
        meaning="The steps, one event each.",
        answer={"type": "string"},
        media_type=MEDIA_TYPE,
        parameters=last_event_id("^[0-9]{1,9}$"),
        bodiless={204: "The order is at its end, and the client has seen all of it."},
        problems=(INVALID_PARAMETER, NOT_FOUND, STORE_UNAVAILABLE, TOO_BUSY),
    )


def move_route(moves: MoveRoutes) -> Route:
    """Moving orders on."""
    return Route(
        method="PATCH",
        path="/orders/{id}/status",
        handler=moves.move,
        access=Access.CUSTOMER,
        name="moveOrder",
        tag="orders",
        summary="Move an order on, or cancel it",
        description="An operator moves any order, a customer cancels the own ones. The order is announced as "
        "what it became; cancelling gives its stock back. Asking for the status that it has changes nothing.",
        meaning="The order as it stands now.",
        answer=OrderView,
        bodies=(StatusBody,),
        body_examples={
            "on its way": {"status": OrderStatus.SHIPPED.value},
            "called off": {"status": OrderStatus.CANCELLED.value, "reason": "ordered twice"},
        },
        parameters=(_MOVE_KEY, _ORDER_IF_MATCH),
        headers={200: ("ETag",), 412: ("ETag",)},
        problems=(
            INVALID_HEADER,
            FORBIDDEN,
            NOT_FOUND,
            ILLEGAL_MOVE,
            NOT_PAID,
            ORDER_CHANGED,
            KEY_REUSED,
            NOT_MOVABLE,
            STORE_UNAVAILABLE,
            TOO_BUSY,
        ),
    )


def stock_table(stock: StockRoutes) -> tuple[Route, ...]:
    """What is in stock."""
    return (
        Route(
            path="/inventory",
            handler=stock.list,
            access=Access.CUSTOMER,
            name="listInventory",
            tag="inventory",
            summary="List what is available",
            description="Sorted by SKU. Follow `next_cursor` until it is null.",
            meaning="A page of SKUs.",
            answer=StockList,
            parameters=PAGE,
            problems=(INVALID_PARAMETER, STORE_UNAVAILABLE, TOO_BUSY),
        ),
        Route(
            path="/inventory/{sku}",
            handler=stock.show,
            access=Access.CUSTOMER,
            name="getInventory",
            tag="inventory",
            summary="Show what is available of a SKU",
            description="In pieces.",
            meaning="What is available now.",
            answer=StockView,
            problems=(NOT_FOUND, STORE_UNAVAILABLE),
        ),
        Route(
            method="PUT",
            path="/inventory/{sku}",
            handler=stock.set,
            access=Access.OPERATOR,
            name="setInventory",
            tag="inventory",
            summary="Set what is available of a SKU",
            description="Makes the SKU known if it was not.",
            meaning="What is available now.",
            answer=StockView,
            bodies=(StockBody,),
            body_examples={"a hundred": {"available": 100}},
            problems=(BROKEN_STOCK, TOO_MANY_SKUS, STORE_UNAVAILABLE),
        ),
        Route(
            method="PATCH",
            path="/inventory/{sku}",
            handler=stock.adjust,
            access=Access.OPERATOR,
            name="changeInventory",
            tag="inventory",
            summary="Change what is available of a SKU",
            description="Refused where it would go below zero. Asking twice changes it twice.",
            meaning="What is available now.",
            answer=StockView,
            bodies=(StockChangeBody,),
            body_examples={"three less": {"delta": -3}},
            problems=(NOT_FOUND, STOCK_OUT_OF_BOUNDS, BROKEN_STOCK, STORE_UNAVAILABLE),
        ),
        Route(
            method="DELETE",
            path="/inventory/{sku}",
            handler=stock.remove,
            access=Access.OPERATOR,
            name="removeInventory",
            tag="inventory",
            summary="Remove a SKU",
            description="Refused while created orders that are still kept hold pieces of it. Orders that "
            "wait for their decision hold none: they are rejected with `unknown_sku`.",
            status=204,
            meaning="It is gone.",
            answer=None,
            problems=(NOT_FOUND, STOCK_HELD, BROKEN_STOCK, STORE_UNAVAILABLE),
        ),
    )
