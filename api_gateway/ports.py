"""What the gateway's routes need of the world behind them."""

from collections.abc import Mapping
from typing import Protocol

from shared.errors import PipelineError
from shared.orders.placement import Placement, PlacementResult


class NotDurable(PipelineError):
    """Raised when an order cannot be promised: no broker confirmed it, and the store may forget it.

    It may have been accepted all the same; asking again with the same id converges.
    """


class Intake(Protocol):
    """The use case behind ``POST /orders``."""

    async def place(self, placement: Placement) -> PlacementResult:
        """Accepts the order at most once. Raises StoreUnavailable, OutboxFull, NotDurable."""


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
