"""Reading the stock of SKUs, for whoever shows it.

An operator may set ``inventory:{sku}`` by hand, so the keys themselves are the truth about which SKUs there
are. Walking all keys is cheap while there are few; past that the index, which the scripts keep, has to do:
a SKU set by hand is then listed as soon as an order has taken of it.
"""

import re
from collections.abc import Sequence
from typing import Final

from shared import keyspace
from shared.redis.client import Redis, store_deadline

WALKED_KEYS: Final = 50_000
"""The most keys that the store may hold for all of them to be walked through."""
KEYS_PER_STEP: Final = 1_000
_AN_INTEGER: Final = re.compile(r"-?[0-9]{1,14}|[0-9]{15}")
"""What the scripts take for one: at most 15 characters, so that Lua counts it exactly."""


class StockReader:
    """Tells what is available. Every method raises StoreUnavailable."""

    def __init__(self, redis: Redis, *, timeout_seconds: float) -> None:
        self._redis = redis
        self._timeout_seconds = timeout_seconds

    async def get(self, sku: str) -> int | None:
        """What is available of a SKU, or None where it is unknown or no integer."""
        async with store_deadline(self._timeout_seconds):
            return (await self._available([sku]))[sku]

    async def list(self) -> dict[str, int | None]:
        """What is available by SKU, sorted by SKU; None for a value that is no integer."""
        async with store_deadline(self._timeout_seconds):
            skus = sorted(await self._skus())
            stock: dict[str, int | None] = {}
            for start in range(0, len(skus), KEYS_PER_STEP):
                stock |= await self._available(skus[start : start + KEYS_PER_STEP])
            return stock

    async def _skus(self) -> set[str]:
        if await self._redis.dbsize() > WALKED_KEYS:
            return {str(sku) for sku in await self._redis.smembers(keyspace.SKUS)}
        pattern, step = keyspace.INVENTORY_PATTERN, KEYS_PER_STEP
        return {keyspace.sku_of(key) async for key in self._redis.scan_iter(match=pattern, count=step)}

    async def _available(self, skus: Sequence[str]) -> dict[str, int | None]:
        values = await self._redis.mget([keyspace.inventory(sku) for sku in skus])
        return {sku: _integer(value) for sku, value in zip(skus, values, strict=True)}


def _integer(value: str | bytes | None) -> int | None:
    """The value as the reserve script would read it."""
    text = "" if value is None else str(value)
    return int(text) if _AN_INTEGER.fullmatch(text) else None
