"""Stock in Redis, as the operator sees and changes it."""

from typing import Any, Final

from api_gateway.ports import (
    BrokenStock,
    StockHeld,
    StockWouldBeNegative,
    StockWouldOverflow,
    TooManySkus,
    UnknownSku,
)
from shared import keyspace
from shared.errors import StoreUnavailable
from shared.redis.client import Redis, store_deadline
from shared.redis.scripts import Script
from shared.redis.stock import StockReader

MOST_AVAILABLE: Final = 10**12


class RedisStockStore(StockReader):
    """Reads stock, and changes it by one script that keeps the books."""

    def __init__(self, redis: Redis, *, timeout_seconds: float, most_skus: int) -> None:
        super().__init__(redis, timeout_seconds=timeout_seconds)
        self._most_skus = most_skus
        self._stock = Script.load("api_gateway", "stock")

    async def set(self, sku: str, available: int) -> int:
        """See the port. What lay there without being an integer counts as nothing."""
        return await self._run(sku, "set", available)

    async def adjust(self, sku: str, delta: int) -> int:
        return await self._run(sku, "adjust", delta)

    async def remove(self, sku: str) -> None:
        await self._run(sku, "remove", 0)

    async def _run(self, sku: str, action: str, pieces: int) -> int:
        keys = [
            keyspace.inventory(sku),
            keyspace.SKUS,
            keyspace.SUPPLIED,
            keyspace.SKU_INDEX,
            keyspace.RESERVED,
            keyspace.ARCHIVE,
            keyspace.STOCK_CHANGED,
        ]
        arguments: list[str | int] = [sku, action, pieces, MOST_AVAILABLE, self._most_skus]
        async with store_deadline(self._timeout_seconds):
            answer = await self._stock.run(self._redis, keys, arguments)
        return _available(answer, sku)


def _available(answer: list[Any], sku: str) -> int:
    match answer:
        case ["done", _, available]:
            return int(available)
        case ["unknown"]:
            raise UnknownSku(sku)
        case ["negative"]:
            raise StockWouldBeNegative(sku)
        case ["too_much"]:
            raise StockWouldOverflow(sku)
        case ["too_many"]:
            raise TooManySkus(sku)
        case ["held", pieces]:
            raise StockHeld(int(pieces))
        case ["broken", key]:
            raise BrokenStock(str(key))
        case _:
            raise StoreUnavailable(f"Redis gave an answer that the stock script does not have: {answer!r}")
