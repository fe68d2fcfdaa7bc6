"""What the gateway's routes need of the world behind them, and the values that pass between."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.errors import PipelineError
from shared.keyspace import OrderStatus
from shared.messages import Order, Trace
from shared.redis.records import OrderRecord


class OutboxFull(PipelineError):
    """Raised when too many orders wait for a broker. Nothing was accepted."""


class NotDurable(PipelineError):
    """Raised when an order cannot be promised: no broker confirmed it, and the store may forget it.

    It may have been accepted all the same; asking again with the same id converges.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A request to place an order.

    ``client_named_id`` is False where the server made the order's id up. ``media_type`` is that of the
    answer, kept so that a replay answers in the same form.
    """

    order: Order
    client_named_id: bool
    idempotency_key: str | None
    media_type: str
    trace: Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The order exists and will be decided."""

    order_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """The same ``Idempotency-Key`` came with the same content before: answer as then."""

    order_id: str
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """An order with this id exists. ``status`` is None where only its claim is left."""

    order_id: str
    status: OrderStatus | None
    same_content: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyReused:
    """The ``Idempotency-Key`` belongs to other content."""

    order_id: str


PlacementResult = Accepted | Replayed | Duplicate | KeyReused


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """A place in the list: just after this order. ``accepted_at`` in microseconds since the epoch."""

    accepted_at: int
    order_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPage:
    """Orders, newest first. ``next_cursor`` is None on the last page."""

    orders: Sequence[OrderRecord]
    next_cursor: Cursor | None


class Intake(Protocol):
    """The use case behind ``POST /orders``."""

    async def place(self, placement: Placement) -> PlacementResult:
        """Accepts the order at most once. Raises StoreUnavailable, OutboxFull, NotDurable."""


class OrderReader(Protocol):
    """Reads orders. Every method raises StoreUnavailable."""

    async def get(self, order_id: str) -> OrderRecord | None:
        """One order, or None where there is none."""

    async def list(self, status: OrderStatus | None, limit: int, after: Cursor | None) -> OrderPage:
        """Up to ``limit`` orders after the cursor, newest first."""


class StockStore(Protocol):
    """The operator's view of stock, in pieces. Every method raises StoreUnavailable."""

    async def get(self, sku: str) -> int | None:
        """What is available of a SKU, or None where it is unknown or no integer."""

    async def list(self) -> Mapping[str, int | None]:
        """What is available by SKU, sorted by SKU; None for a value that is no integer."""

    async def set(self, sku: str, available: int) -> int:
        """Makes ``available`` the stock of a SKU, known before or not, and returns it.

        Raises BrokenStock where the books beside it cannot be kept.
        """

    async def adjust(self, sku: str, delta: int) -> int:
        """Adds ``delta`` and returns the new stock.

        Raises UnknownSku, StockWouldBeNegative, StockWouldOverflow, BrokenStock.
        """


class UnknownSku(PipelineError):
    """Raised when there is no stock entry for a SKU."""


class StockWouldBeNegative(PipelineError):
    """Raised when a change would take more than there is; nothing was changed."""


class StockWouldOverflow(PipelineError):
    """Raised when a change would lead to more than can be kept exactly; nothing was changed."""


class BrokenStock(PipelineError):
    """Raised when the stock entry of a SKU is not an integer; only setting it anew helps."""
