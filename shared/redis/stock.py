"""Reading the stock of SKUs, for whoever shows it.

An operator may set ``inventory:{sku}`` by hand, so the keys themselves are the truth about which SKUs there
are. Walking all keys is cheap while there are few; past that the index, which the scripts keep, has to do:
a SKU set by hand is then listed as soon as an order has taken of it.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, cast

from redis.exceptions import ResponseError

from shared import keyspace
from shared.redis.client import Redis, is_away, store_deadline

SCANNED_UP_TO_KEYS: Final = 50_000
"""A store of at most so many keys is scanned, which finds what an operator has SET by hand."""
_CHUNK: Final = 1_000
_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]{0,13}|[1-9][0-9]{14}")
"""What the scripts take for one: as Redis writes it, and at most 15 characters, which Lua counts exactly."""

Skus = set[str]
Page = tuple[int, list[str]]
"""A part of a walk: where to go on, 0 at the end, and what was found."""


class StockReader:
    """Tells what is available. Every method raises StoreUnavailable."""

    def __init__(
        self, redis: Redis, *, timeout_seconds: float, scanned_up_to_keys: int = SCANNED_UP_TO_KEYS
    ) -> None:
        self._redis = redis
        self._timeout_seconds = timeout_seconds
        self._scanned_up_to_keys = scanned_up_to_keys

    async def get(self, sku: str) -> int | None:
        """What is available of a SKU, or None where it is unknown or no integer."""
        async with store_deadline(self._timeout_seconds):
            try:
                found = cast(str | None, await self._redis.get(keyspace.inventory(sku)))
            except ResponseError as error:
                if is_away(error):
                    raise
                return None
        return _integer(found)

    async def list(self) -> Mapping[str, int | None]:
        """What is available by SKU, sorted by SKU; None for a value that is no integer.

        The deadline holds for each round trip.
        """
        async with store_deadline(self._timeout_seconds):
            size = await self._redis.dbsize()
        scanned = size <= self._scanned_up_to_keys
        skus = sorted(await self._scanned_skus() if scanned else await self._indexed_skus())
        stock: dict[str, int | None] = {}
        for start in range(0, len(skus), _CHUNK):
            stock |= await self._read(skus[start : start + _CHUNK])
        return stock

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
