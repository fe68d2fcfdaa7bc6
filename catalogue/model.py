"""What a product is, and how writing one may end."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.errors import PipelineError
from shared.messages import event_time


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A product as it stands in the database; times in microseconds since the epoch.

    Every write gives it a new ``version`` from one sequence of all products. One that was deleted is kept as
    a tombstone, so that every later product is newer.
    """

    sku: str
    name: str
    description: str
    category: str
    unit_amount: int
    currency: str
    version: int
    created_at: int
    updated_at: int
    deleted: bool = False

    def shown(self) -> Mapping[str, Any]:
        """What answers and events tell of it."""
        return {
            "sku": self.sku,
            "name": self.name,
            "description": self.description,
            "category": self.category,
            "unit_amount": self.unit_amount,
            "currency": self.currency,
            "version": self.version,
            "created_at": event_time(self.created_at),
            "updated_at": event_time(self.updated_at),
        }


class WriteRefused(PipelineError):
    """Root of the errors after which it is certain that nothing was written."""


class ProductExists(WriteRefused):
    """Raised when there is a product of this SKU."""


class UnknownProduct(WriteRefused):
    """Raised when there is no product of this SKU."""


class ProductChanged(WriteRefused):
    """Raised when the product has another version than the client expects."""

    def __init__(self, version: int) -> None:
        super().__init__(f"the version is {version}")
        self.version = version
