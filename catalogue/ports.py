"""What the catalogue's use cases need of the world behind them."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from catalogue.model import Product


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A place in the cache: of one product, or of a page of a list where ``sku`` is None."""

    key: str
    sku: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the cache said. ``body`` is what it has, which ``holds`` or is of before.

    With a ``token`` the caller is the one who reads the database, from ``generation`` on. What ``is_late``
    holds not much longer.
    """

    body: str | None
    holds: bool = False
    is_late: bool = False
    token: str | None = None
    generation: str = ""


class Cache(Protocol):
    """Answers that were given before. Every method raises StoreUnavailable."""

    async def look(self, entry: Entry, *, may_read: bool) -> Look:
        """What there is. With ``may_read``, one caller at a time is made the reader of what does not hold, or
        not much longer."""

    async def fill(self, entry: Entry, look: Look, body: str) -> None:
        """Keeps what the reader has read, unless it was invalidated since it looked; '' makes way."""

    async def invalidate(self, skus: Collection[str]) -> None:
        """From its return on, no look holds that was filled before: of these products, and of all lists."""


class PriceBoard(Protocol):
    """Where orders read what products cost."""

    async def show(self, products: Sequence[Product]) -> Mapping[str, int]:
        """Writes what each costs, or that it is gone, unless something newer stands there.

        Returns the version of what is newer, by SKU. Raises StoreUnavailable.
        """


class Stock(Protocol):
    """What is available. Every method raises StoreUnavailable."""

    async def of_one(self, sku: str) -> int | None:
        """Pieces of a SKU, None where none was ever set."""

    def begin(self, sku: str) -> "asyncio.Future[int | None]":
        """The same, to be awaited later or cancelled."""

    async def of_many(self, skus: Sequence[str]) -> Sequence[int | None]:
        """The same for several, in their order."""
