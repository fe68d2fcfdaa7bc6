"""Reading the stock of SKUs, page by page, for the gateway and the dashboard.

``stock.index`` has every SKU that came in through the API, sorted. An operator may also set
``inventory:{sku}`` by hand, so the keys are walked through too, for SKUs that the index does not have: a
bounded number of keys at a time, and so seldom that it takes a tenth of the store's time at most. A store of
up to 50,000 keys is walked through as a whole, so that what was set by hand is seen at once; of a larger one
each look walks through the next part.
"""

import asyncio
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from shared import keyspace
from shared.messages import is_identifier
from shared.redis.client import Redis, broken_is_absent, store_deadline

KEYS_PER_STEP: Final = 1_000
STEPS_PER_WALK: Final = 50
PAUSE_PER_WALK: Final = 10
"""A walk is followed by a pause of so many times its length."""
_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]{0,13}|[1-9][0-9]{14}")
"""What the scripts take for one: as Redis writes it, and at most 15 characters, which Lua counts exactly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StockPage:
    """What is available by SKU, sorted by SKU; None for a value that is no integer.

    ``next_after`` is the SKU after which the next page begins, None on the last one.
    """

    stock: Mapping[str, int | None]
    next_after: str | None


class StockReader:
    """Tells what is available. Methods raise StoreUnavailable; the deadline holds for each round trip."""

    def __init__(self, redis: Redis, *, timeout_seconds: float, steps_per_walk: int = STEPS_PER_WALK) -> None:
        self._redis = redis
        self._timeout_seconds = timeout_seconds
        self._walk = _KeyWalk(redis, timeout_seconds=timeout_seconds, steps=steps_per_walk)

    async def get(self, sku: str) -> int | None:
        """What is available of a SKU, or None where it is unknown or no integer."""
        found: str | None = None
        async with store_deadline(self._timeout_seconds):
            with broken_is_absent():
                found = cast(str | None, await self._redis.get(keyspace.inventory(sku)))
        return integer(found)

    async def count(self) -> int:
        """How many SKUs are known."""
        async with store_deadline(self._timeout_seconds):
            indexed = int(await self._redis.zcard(keyspace.SKU_INDEX))
        return indexed + len(self._walk.found)

    async def list(self, after: str, limit: int) -> StockPage:
        """Up to ``limit`` SKUs that come after ``after``; the first page begins after ''."""
        if not after:
            await self._walk.go_on()
        async with store_deadline(self._timeout_seconds):
            indexed = await self._redis.zrange(
                keyspace.SKU_INDEX,
                cast(Any, f"({after}" if after else "-"),
                cast(Any, "+"),
                bylex=True,
                offset=0,
                num=limit + 1,
            )
        begin = bisect_right(self._walk.found, after)
        skus = sorted({*indexed, *self._walk.found[begin : begin + limit + 1]})
        return StockPage(
            stock=await self._read(skus[:limit]), next_after=skus[limit - 1] if len(skus) > limit else None
        )

    async def _read(self, skus: Sequence[str]) -> dict[str, int | None]:
        """Leaves out what has no entry; MGET gives nothing for a key of another type either."""
        if not skus:
            return {}
        async with store_deadline(self._timeout_seconds):
            found = await self._redis.mget([keyspace.inventory(sku) for sku in skus])
            values = dict(zip(skus, cast(list[str | None], found), strict=True))
            empty = [sku for sku, value in values.items() if value is None]
            async with self._redis.pipeline(transaction=False) as pipeline:
                for sku in empty:
                    _ = pipeline.exists(keyspace.inventory(sku))
                exists = await pipeline.execute() if empty else []
        absent = {sku for sku, is_there in zip(empty, exists, strict=True) if not is_there}
        return {sku: integer(value) for sku, value in values.items() if sku not in absent}


class _KeyWalk:
    """Looks through the keys for SKUs that the index lacks. ``found`` are those of the last round, sorted."""

    def __init__(self, redis: Redis, *, timeout_seconds: float, steps: int) -> None:
        self._redis = redis
        self._timeout_seconds = timeout_seconds
        self._steps = steps
        self._one_at_a_time = asyncio.Lock()
        self._rests_until = 0.0
        self._place = 0
        self._round: set[str] = set()
        self.found: Sequence[str] = ()

    async def go_on(self) -> None:
        """Walks through the next part of the keys, unless it did so just now."""
        clock = asyncio.get_running_loop().time
        async with self._one_at_a_time:
            began = clock()
            if began < self._rests_until:
                return
            for _ in range(self._steps):
                async with store_deadline(self._timeout_seconds):
                    self._round.update(await self._step())
                if not self._place:
                    break
            now = clock()
            self._rests_until = now + PAUSE_PER_WALK * (now - began)
            if self._place:
                self.found = sorted({*self.found, *self._round})
            else:
                self.found, self._round = sorted(self._round), set()

    async def _step(self) -> Sequence[str]:
        self._place, keys = await self._redis.scan(
            self._place, match=keyspace.INVENTORY_PATTERN, count=KEYS_PER_STEP
        )
        skus = [sku for key in cast(list[str], keys) if is_identifier(sku := keyspace.sku_of(key))]
        places = await self._redis.zmscore(keyspace.SKU_INDEX, skus) if skus else []
        return [sku for sku, place in zip(skus, places, strict=True) if place is None]


def integer(value: str | None) -> int | None:
    """The stock that a value stands for, None where it is no integer as scripts take it."""
    return int(value) if value is not None and _INTEGER.fullmatch(value) else None
