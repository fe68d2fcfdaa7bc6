"""The stock of products, read from the primary when an answer is given: for many answers in one question."""

import asyncio
from collections.abc import Sequence
from typing import Final, cast

from shared import keyspace
from shared.gathering import Gathering
from shared.redis.client import Redis, late, round_trip, store_deadline
from shared.redis.stock import integer

SKUS_AT_ONCE: Final = 1_000
QUESTIONS_AT_ONCE: Final = 2


class StockLevels:
    """Tells what is available of SKUs."""

    def __init__(self, redis: Redis, *, timeout_seconds: float) -> None:
        self._redis = redis
        self._timeout_seconds = timeout_seconds
        self._gathering: Gathering[str, int | None] = Gathering(
            self._read,
            fitting=lambda skus: min(len(skus), SKUS_AT_ONCE),
            at_once=QUESTIONS_AT_ONCE,
            timeout_seconds=timeout_seconds,
            late=late,
        )

    async def of_one(self, sku: str) -> int | None:
        """What is available, None where none was ever set. Raises StoreUnavailable."""
        return await self.begin(sku)

    def begin(self, sku: str) -> "asyncio.Future[int | None]":
        """The same, to be awaited later or cancelled."""
        return self._gathering.begin(sku)

    async def of_many(self, skus: Sequence[str]) -> Sequence[int | None]:
        """The same for a page, in its order."""
        return await self._read(skus) if skus else []

    async def _read(self, skus: Sequence[str]) -> Sequence[int | None]:
        keys = [keyspace.inventory(sku) for sku in skus]
        async with store_deadline(self._timeout_seconds):
            (found,) = await round_trip(self._redis, [("MGET", *keys)])
            if isinstance(found, Exception):
                raise found
        return [integer(value) for value in cast(list[str | None], found)]
