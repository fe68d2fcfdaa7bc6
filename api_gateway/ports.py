"""What the gateway's routes need of the world behind them."""

from collections.abc import Collection
from typing import Protocol

from shared.errors import PipelineError
from shared.keyspace import Channel
from shared.messages import Order
from shared.orders.moves import Move, MoveResult
from shared.orders.placement import Placement, PlacementResult
from shared.orders.records import OrderRecord
from shared.redis.stock import StockPage


class NotDurable(PipelineError):
    """Raised when an order cannot be promised: no broker confirmed it, and the store may forget it.

    It may have been accepted all the same; asking again with the same id converges.
    """


class Intake(Protocol):
    """The use case behind ``POST /orders``."""

    async def place(self, placement: Placement) -> PlacementResult:
        """Accepts the order at most once. Raises StoreUnavailable, OutboxFull, NotDurable."""


class Budget(Protocol):
    """Judges how much of the store a client may take."""

    def has_room(self, client: str, order: Order) -> bool:
        """Whether a new order of this client may be stored."""

    def stored(self, client: str, order: Order) -> None:
        """It was."""


class Moves(Protocol):
    """Moves orders on, and announces that."""

    async def move(self, record: OrderRecord, move: Move) -> MoveResult:
        """Makes the move where the table has it, once. Raises StoreUnavailable."""


class PreferenceStore(Protocol):
    """Which channels customers decline. Every method raises StoreUnavailable."""

    async def declined_by(self, customer: str) -> Collection[Channel]:
        """Those by which this customer does not want to be told; none where nothing was chosen."""

    async def decline(self, customer: str, channels: Collection[Channel]) -> None:
        """From now on the customer declines these, and no others."""


class StockStore(Protocol):
    """The operator's view of stock, in pieces. Every method raises StoreUnavailable."""

    async def get(self, sku: str) -> int | None:
        """What is available of a SKU, or None where it is unknown or no integer."""

    async def list(self, after: str, limit: int) -> StockPage:
        """Up to ``limit`` SKUs that come after ``after``; the first page begins after ''."""

    async def set(self, sku: str, available: int) -> int:
        """Makes ``available`` the stock of a SKU, known before or not, and returns it.

        Raises BrokenStock where the books beside it cannot be kept, TooManySkus where there may be no more.
        """

    async def adjust(self, sku: str, delta: int) -> int:
        """Adds ``delta`` and returns the new stock.

        Raises UnknownSku, StockWouldBeNegative, StockWouldOverflow, BrokenStock.
        """

    async def remove(self, sku: str) -> None:
        """Forgets the SKU; orders for it are rejected from then on.

        Raises UnknownSku, StockHeld where created orders that are still kept hold pieces of it, BrokenStock.
        """


class UnknownSku(PipelineError):
    """Raised when there is no stock entry for a SKU."""


class StockWouldBeNegative(PipelineError):
    """Raised when a change would take more than there is; nothing was changed."""


class StockWouldOverflow(PipelineError):
    """Raised when a change would lead to more than can be kept exactly; nothing was changed."""


class BrokenStock(PipelineError):
    """Raised when the stock entry of a SKU is not an integer; only setting it anew helps."""


class TooManySkus(PipelineError):
    """Raised when there are as many SKUs as there may be; nothing was changed."""


class StockHeld(PipelineError):
    """Raised when orders hold pieces of a SKU that is to be removed. ``pieces`` says how many."""

    def __init__(self, pieces: int) -> None:
        super().__init__(f"orders hold {pieces} pieces")
        self.pieces = pieces
