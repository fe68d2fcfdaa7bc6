"""The OpenAPI 3.1 description of the gateway, from the classes that validate bodies and write answers."""

from importlib.metadata import version
from typing import Final

from api_gateway import problems, schemas
from api_gateway.listing import DEFAULT_LIMIT, MAX_LIMIT
from api_gateway.openapi_parts import (
    Json,
    answer,
    body,
    component_headers,
    component_schemas,
    header,
    operation,
    path_parameter,
    query_parameter,
    ref,
)
from shared.http.problems import (
    BODY_TOO_LARGE,
    CORRELATION_HEADER,
    INVALID_FIELDS,
    INVALID_PARAMETER,
    MALFORMED_JSON,
    NOT_FOUND,
    STORE_UNAVAILABLE,
    TOO_BUSY,
    UNSUPPORTED_BODY,
)
from shared.orders.model import OrderStatus

_CURSOR_SCHEMA: Final = {"type": "string", "pattern": "^[A-Za-z0-9_-]+$", "maxLength": 128}
_EXAMPLE_ORDER: Final = {"id": "order123", "sku": "mag-safe-phone-case", "qty": 2}
_EXAMPLE_ITEMS: Final = {
    "id": "order124",
    "email": "a@example.com",
    "items": [{"sku": "mag-safe-phone-case", "qty": 2}, {"sku": "cable", "qty": 1}],
}
_EXAMPLE_RECEIPT: Final = {
    "id": "order123",
    "status": "accepted",
    "message": "Order received: order123",
    "links": {"self": "/orders/order123"},
}
_BODY_PROBLEMS: Final = (
    MALFORMED_JSON,
    BODY_TOO_LARGE,
    UNSUPPORTED_BODY,
    INVALID_FIELDS,
)
_DESCRIPTION: Final = """\
Takes orders, reserves stock for all of an order or for none of it, and never loses or repeats one.

Every answer carries `X-Correlation-ID`: the caller's, if it sent a sane one, else a new one. Every
error is `application/problem+json`, except a duplicate, which is the line `Duplicate order` for those
who prefer `text/plain`. After no answer to `POST /orders`, or 408 or 5xx, whether the order was
accepted is unknown: ask again with the same id, that converges. 202 says that it is accepted; 409 with
`same_content` true, that it was before. Other 4xx have changed nothing, and the same request gets the
same answer again. `GET` routes answer `HEAD` too.
"""


def document() -> Json:
    """The whole description."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Order pipeline: API gateway",
            "version": version("order-pipeline"),
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "orders", "description": "Placing and following orders."},
            {"name": "inventory", "description": "What is in stock, for operators."},
            {"name": "reference", "description": "This description."},
        ],
        "paths": {
            "/orders": {"post": _place_order(), "get": _list_orders()},
            "/orders/{id}": {
                "parameters": [path_parameter("id", "The order's id.")],
                "get": _show_order(),
            },
            "/inventory": {"get": _list_stock()},
            "/inventory/{sku}": {
                "parameters": [path_parameter("sku", "The SKU.")],
                "get": _show_stock(),
                "put": _set_stock(),
                "patch": _change_stock(),
            },
            "/openapi.json": {"get": _reference("openapi", "This description", "application/json")},
            "/docs": {"get": _reference("docs", "This description as a page", "text/html")},
        },
        "components": {"schemas": component_schemas(), "headers": component_headers()},
    }


def _place_order() -> Json:
    receipt_headers = {"Location": header("Location"), "Idempotent-Replayed": header("Idempotent-Replayed")}
    accepted = answer("The order exists and will be decided.", schemas.OrderReceipt, headers=receipt_headers)
    accepted["content"]["application/json"]["example"] = _EXAMPLE_RECEIPT
    accepted["content"]["text/plain"] = {
        "schema": {"type": "string"},
        "example": "Order received: order123",
    }
    described = operation(
        "placeOrder",
        "orders",
        "Place an order",
        "All of its items are reserved, or none is. `text/plain` is answered only to those who name it in "
        "`Accept` with a q at least as high as JSON's.",
        {"202": accepted},
        (
            *_BODY_PROBLEMS,
            problems.INVALID_HEADER,
            problems.DUPLICATE_ORDER,
            problems.KEY_REUSED,
            STORE_UNAVAILABLE,
            problems.NOT_DURABLE,
            problems.OUTBOX_FULL,
            TOO_BUSY,
        ),
    )
    conflict = described["responses"]["409"]
    conflict["headers"]["Location"] = header("Location")
    described["responses"]["422"]["headers"]["Location"] = header("Location")
    conflict["content"]["text/plain"] = {"schema": {"type": "string"}, "example": "Duplicate order"}
    described["parameters"] += [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "Makes a request safe to repeat: the same key with the same content gets the "
            "first answer again, with other content 422. With it, `id` may be left out.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
        }
    ]
    forms = [ref(schemas.SingleItemBody), ref(schemas.OrderBody)]
    examples: dict[str, Json] = {
        "one item": {"value": _EXAMPLE_ORDER},
        "several items": {"value": _EXAMPLE_ITEMS},
    }
    described["requestBody"] = body({"oneOf": forms}, examples)
    return described


def _list_orders() -> Json:
    described = operation(
        "listOrders",
        "orders",
        "List orders, newest first",
        "Follow `next_cursor` until it is null.",
        {"200": answer("A page of orders.", schemas.OrderList)},
        (INVALID_PARAMETER, STORE_UNAVAILABLE, TOO_BUSY),
    )
    limit = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
    described["parameters"] += [
        query_parameter("status", "Only orders of this status.", ref(OrderStatus)),
        query_parameter("limit", "How many at most.", limit),
        query_parameter("cursor", "The `next_cursor` of the page before.", _CURSOR_SCHEMA),
    ]
    return described


def _show_order() -> Json:
    return operation(
        "getOrder",
        "orders",
        "Show an order with its timeline",
        "Each step of the timeline has its time, and its reason and attempts where there are any.",
        {"200": answer("The order as it stands.", schemas.OrderView)},
        (NOT_FOUND, STORE_UNAVAILABLE, TOO_BUSY),
    )


def _list_stock() -> Json:
    return operation(
        "listInventory",
        "inventory",
        "List what is available",
        "Sorted by SKU.",
        {"200": answer("Every SKU that is known.", schemas.StockList)},
        (STORE_UNAVAILABLE,),
    )


def _show_stock() -> Json:
    return operation(
        "getInventory",
        "inventory",
        "Show what is available of a SKU",
        "In pieces.",
        {"200": answer("What is available now.", schemas.StockView)},
        (NOT_FOUND, STORE_UNAVAILABLE),
    )


def _set_stock() -> Json:
    described = operation(
        "setInventory",
        "inventory",
        "Set what is available of a SKU",
        "Makes the SKU known if it was not.",
        {"200": answer("What is available now.", schemas.StockView)},
        (*_BODY_PROBLEMS, problems.BROKEN_STOCK, STORE_UNAVAILABLE),
    )
    described["requestBody"] = body(ref(schemas.StockBody), {"a hundred": {"value": {"available": 100}}})
    return described


def _change_stock() -> Json:
    described = operation(
        "changeInventory",
        "inventory",
        "Change what is available of a SKU",
        "Refused where it would go below zero. Not idempotent: asking twice changes it twice.",
        {"200": answer("What is available now.", schemas.StockView)},
        (
            *_BODY_PROBLEMS,
            NOT_FOUND,
            problems.STOCK_OUT_OF_BOUNDS,
            problems.BROKEN_STOCK,
            STORE_UNAVAILABLE,
        ),
    )
    described["requestBody"] = body(ref(schemas.StockChangeBody), {"three less": {"value": {"delta": -3}}})
    return described


def _reference(name: str, summary: str, media_type: str) -> Json:
    kind = "object" if media_type == "application/json" else "string"
    answer = {
        "description": f"{summary}.",
        "headers": {CORRELATION_HEADER: header(CORRELATION_HEADER)},
        "content": {media_type: {"schema": {"type": kind}}},
    }
    return operation(name, "reference", summary, "Works offline.", {"200": answer}, ())
