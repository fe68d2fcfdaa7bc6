"""The kinds of problem that only the gateway answers with."""

from typing import Final

from api_gateway.schemas import (
    DuplicateOrderView,
    IllegalMoveView,
    NotPaidView,
    PriceChangedView,
    SeveralCurrenciesView,
    UnknownProductsView,
)
from shared.http.problems import ProblemType
from shared.orders.model import OrderStatus, Payment

INVALID_HEADER: Final = ProblemType(name="invalid-header", status=400, title="Invalid header")
DUPLICATE_ORDER: Final = ProblemType(
    name="duplicate-order",
    status=409,
    title="Duplicate order",
    view=DuplicateOrderView,
    example={"order_status": OrderStatus.CREATED.value, "same_content": True},
)
PRICE_CHANGED: Final = ProblemType(
    name="price-changed",
    status=409,
    title="Price changed",
    view=PriceChangedView,
    example={"currency": "EUR", "amount_total": 4298, "skus": []},
)
SEVERAL_CURRENCIES: Final = ProblemType(
    name="several-currencies",
    status=422,
    title="Several currencies in one order",
    view=SeveralCurrenciesView,
    example={"currencies": ["EUR", "USD"]},
)
UNKNOWN_PRODUCTS: Final = ProblemType(
    name="unknown-products",
    status=422,
    title="Unknown products",
    view=UnknownProductsView,
    example={"skus": ["cable"]},
)
BROKEN_PRODUCT: Final = ProblemType(
    name="broken-product", status=503, title="A price cannot be read", retry_after_seconds=60
)
ILLEGAL_MOVE: Final = ProblemType(
    name="illegal-move",
    status=409,
    title="The order cannot become that",
    view=IllegalMoveView,
    example={"order_status": OrderStatus.SHIPPED.value, "allowed": [OrderStatus.DELIVERED.value]},
)
NOT_PAID: Final = ProblemType(
    name="not-paid",
    status=409,
    title="The order is not paid for",
    view=NotPaidView,
    example={
        "order_status": OrderStatus.CREATED.value,
        "allowed": [OrderStatus.CANCELLED.value],
        "payment": Payment.PENDING.value,
    },
)
ORDER_CHANGED: Final = ProblemType(name="order-changed", status=412, title="The order has changed")
NOT_MOVABLE: Final = ProblemType(
    name="not-movable", status=503, title="The order cannot be moved now", retry_after_seconds=2
)
STORE_SHORT: Final = ProblemType(
    name="store-short", status=503, title="The store runs short of memory", retry_after_seconds=60
)
STOCK_HELD: Final = ProblemType(name="stock-held", status=409, title="Orders hold pieces of this SKU")
KEY_REUSED: Final = ProblemType(name="idempotency-key-reused", status=422, title="Idempotency-Key reused")
NOT_DURABLE: Final = ProblemType(
    name="not-durable", status=503, title="The order cannot be made durable", retry_after_seconds=2
)
SCHEDULE_FULL: Final = ProblemType(
    name="schedule-full", status=503, title="Too many orders are scheduled", retry_after_seconds=60
)
OWN_SCHEDULE_FULL: Final = ProblemType(
    name="own-schedule-full",
    status=429,
    title="Too many orders of this customer are scheduled",
    retry_after_seconds=60,
)
OUTBOX_FULL: Final = ProblemType(
    name="outbox-full", status=503, title="Too many orders are waiting", retry_after_seconds=5
)
