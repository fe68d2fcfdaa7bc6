"""Stock in Redis, as the operator sees and changes it."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, cast

from redis.exceptions import ResponseError

from api_gateway.ports import BrokenStock, StockWouldBeNegative, StockWouldOverflow, UnknownSku
from shared import keyspace
from shared.errors import StoreUnavailable
from shared.redis.client import Redis, is_away, store_deadline
from shared.redis.scripts import Script

MOST_AVAILABLE: Final = 10**12
SCANNED_UP_TO_KEYS: Final = 50_000
"""A store of at most so many keys is scanned, which finds what an operator has SET by hand."""
_CHUNK: Final = 1_000
Skus = set[str]
Page = tuple[int, list[str]]
"""A part of a walk: where to go on, 0 at the end, and what was found."""
_INTEGER: Final = re.compile(r"-?[0-9]{1,15}")


class RedisStockStore:
    """Reads stock, and changes it by one script that keeps the books."""

    def __init__(
        self, redis: Redis, *, timeout_seconds: float, scanned_up_to_keys: int = SCANNED_UP_TO_KEYS
    ) -> None:
        self._redis = redis
        self._timeout_seconds = timeout_seconds
        self._scanned_up_to_keys = scanned_up_to_keys
        self._stock = Script.load("api_gateway", "stock")

    async def get(self, sku: str) -> int | None:
        """See the port."""
        async with store_deadline(self._timeout_seconds):
            try:
                found = cast(str | None, await self._redis.get(keyspace.inventory(sku)))
            except ResponseError as error:
                if is_away(error):
                    raise
                return None
        return _integer(found)

    async def list(self) -> Mapping[str, int | None]:
        """See the port. The deadline holds for each round trip."""
        async with store_deadline(self._timeout_seconds):
            size = await self._redis.dbsize()
        scanned = size <= self._scanned_up_to_keys
        skus = sorted(await self._scanned_skus() if scanned else await self._indexed_skus())
        stock: dict[str, int | None] = {}
        for start in range(0, len(skus), _CHUNK):
            stock |= await self._read(skus[start : start + _CHUNK])
        return stock

    async def set(self, sku: str, available: int) -> int:
        """See the port. What lay there without being an integer counts as nothing. Raises BrokenStock."""
        return await self._run(sku, "set", available)

    async def adjust(self, sku: str, delta: int) -> int:
        """See the port."""
        return await self._run(sku, "adjust", delta)

    async def _run(self, sku: str, action: str, pieces: int) -> int:
        keys = [keyspace.inventory(sku), keyspace.SKUS, keyspace.SUPPLIED]
        async with store_deadline(self._timeout_seconds):
            answer = await self._stock.run(self._redis, keys, [sku, action, pieces, MOST_AVAILABLE])
        return _available(answer, sku)

    async def _scanned_skus(self) -> Skus:
        async def scan(cursor: int) -> Page:
            page = await self._redis.scan(cursor, match=keyspace.INVENTORY_PATTERN, count=_CHUNK)
            return cast(Page, page)

        return {keyspace.sku_of(key) for key in await self._walk(scan)}

    async def _indexed_skus(self) -> Skus:
        async def scan(cursor: int) -> Page:
            return cast(Page, await self._redis.sscan(keyspace.SKUS, cursor, count=_CHUNK))

        return await self._walk(scan)

    async def _walk(self, scan: Callable[[int], Awaitable[Page]]) -> Skus:
        found: Skus = set()
        cursor = 0
        while True:
            async with store_deadline(self._timeout_seconds):
                cursor, names = await scan(cursor)
            found.update(names)
            if not cursor:
                return found

    async def _read(self, skus: Sequence[str]) -> dict[str, int | None]:
        """Leaves out what has no entry; MGET gives nothing for a key of another type either."""
        async with store_deadline(self._timeout_seconds):
            found = await self._redis.mget([keyspace.inventory(sku) for sku in skus])
            values = cast(list[str | None], found)
            empty = [sku for sku, value in zip(skus, values, strict=True) if value is None]
            absent = {sku for sku in empty if not await self._redis.exists(keyspace.inventory(sku))}
        pairs = zip(skus, values, strict=True)
        return {sku: _integer(value) for sku, value in pairs if sku not in absent}


def _integer(value: str | None) -> int | None:
    return int(value) if value is not None and _INTEGER.fullmatch(value) else None


def _available(answer: list[Any], sku: str) -> int:
    match answer:
        case ["done", available]:
            return int(available)
        case ["unknown"]:
            raise UnknownSku(sku)
        case ["negative"]:
            raise StockWouldBeNegative(sku)
        case ["too_much"]:
            raise StockWouldOverflow(sku)
        case ["broken", key]:
            raise BrokenStock(str(key))
        case _:
            raise StoreUnavailable(f"Redis gave an answer that the stock script does not have: {answer!r}")
