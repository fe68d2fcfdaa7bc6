"""What the page about stock needs of Redis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared import keyspace
from shared.redis.client import Redis, is_away, store_deadline
from shared.redis.stock import StockReader, integer


@dataclass(frozen=True, slots=True, kw_only=True)
class StockLine:
    """One SKU; ``available`` is None where its entry is no number, ``reserved`` what created orders hold."""

    sku: str
    available: int | None
    reserved: int
    name: str | None
    unit_amount: int | None
    currency: str | None


class StockShelf:
    """Reads stock beside reservations and products. Methods raise StoreUnavailable."""

    def __init__(self, redis: Redis, stock: StockReader, *, timeout_seconds: float) -> None:
        self._redis: Any = redis
        self._stock = stock
        self._timeout_seconds = timeout_seconds

    async def page(self, after: str, limit: int) -> tuple[Sequence[StockLine], str | None]:
        """Up to ``limit`` SKUs that come after ``after``, and after which the next page begins."""
        page = await self._stock.list(after, limit)
        return await self._lines(page.stock), page.next_after

    async def one(self, sku: str) -> Sequence[StockLine]:
        """This SKU; nothing where neither stock nor a product has it."""
        (line,) = await self._lines({sku: await self._stock.get(sku)})
        return [] if line.available is None and line.name is None and not line.reserved else [line]

    async def _lines(self, stock: Mapping[str, int | None]) -> Sequence[StockLine]:
        async with store_deadline(self._timeout_seconds), self._redis.pipeline(transaction=False) as pipeline:
            for sku in stock:
                pipeline.hget(keyspace.RESERVED, sku)
                pipeline.hmget(keyspace.product(sku), "name", "unit_amount", "currency")
            found = await pipeline.execute(raise_on_error=False) if stock else []
            for each in found:
                if isinstance(each, Exception) and is_away(each):
                    raise each
        return [
            StockLine(
                sku=sku,
                available=available,
                reserved=_number(reserved) or 0,
                name=name,
                unit_amount=_number(unit_amount),
                currency=currency,
            )
            for (sku, available), reserved, (name, unit_amount, currency) in zip(
                stock.items(), found[::2], map(_product, found[1::2]), strict=True
            )
        ]


def _number(found: Any) -> int | None:
    """None for what is none, a key of another type included."""
    return integer(found) if isinstance(found, str) else None


def _product(found: Any) -> Sequence[str | None]:
    return found if isinstance(found, list) else (None, None, None)
