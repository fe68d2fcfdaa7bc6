"""Keeps the log of steps in its bounds: behind what its followers have read, and ahead of that only in need.

A follower that never confirmed anything reads the records when it comes: nothing has to wait for it.
"""

from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter

from shared import keyspace
from shared.logs import get_logger
from shared.messaging.waiting import repeating
from shared.orders.redis.log import OrderLog, place_of
from shared.redis.client import Redis, store_deadline
from shared.redis.memory import memory_used

MOST_MEMORY: Final = 0.7
AT_ONCE: Final = 10_000
"""Entries that one command removes, so that no other waits for long."""
PAUSE_SECONDS: Final = 10.0

log = get_logger(__name__)


class LogTrimming:
    """Removes entries that are no longer kept. Methods raise StoreUnavailable."""

    def __init__(
        self,
        redis: Redis,
        registry: CollectorRegistry,
        *,
        timeout_seconds: float,
        keep_seconds: float,
        most_entries: int,
    ) -> None:
        self._redis: Any = redis
        self._ahead = Counter(
            "orders_log_trimmed_ahead",
            "Entries removed from the log of steps that a follower had not read",
            registry=registry,
        )
        self._log = OrderLog(redis, timeout_seconds=timeout_seconds)
        self._timeout_seconds = timeout_seconds
        self._keep_milliseconds = round(keep_seconds * 1_000)
        self._most_entries = most_entries

    async def run(self) -> None:
        """Trims again and again, until cancelled. Processors may do so side by side."""
        await repeating(self.trim_once, PAUSE_SECONDS, what="trimming the log of steps")

    async def trim_once(self) -> int:
        """Trims; how many entries went that a follower had not read."""
        async with store_deadline(self._timeout_seconds):
            seconds, _ = await self._redis.time()
            length = await self._redis.xlen(keyspace.LOG)
            last = await self._redis.xrevrange(keyspace.LOG, count=1)
        if not last:
            return 0
        position = await self._log.confirmed()
        end, oldest = last[0][0], seconds * 1_000 - self._keep_milliseconds
        behind = end if position is None else min(position, end, key=place_of)
        excess = length - self._most_entries
        excess -= await self._remove(min(behind, f"{oldest}-0", key=place_of))
        excess -= await self._remove(behind, excess)
        if behind == end or await self._memory_used() <= MOST_MEMORY:
            return 0
        ahead = await self._remove(min(end, f"{oldest}-0", key=place_of))
        ahead += await self._remove(end, excess - ahead)
        if ahead:
            self._ahead.inc(ahead)
            log.error("the log of steps was trimmed ahead of its followers: memory is short", entries=ahead)
        return ahead

    async def _memory_used(self) -> float:
        return await memory_used(self._redis, timeout_seconds=self._timeout_seconds)

    async def _remove(self, before: str, most: int | None = None) -> int:
        """Whole nodes of the stream, of a hundred entries, go that lie before it as a whole."""
        removed = 0
        while most is None or removed < most:
            limit = AT_ONCE if most is None else min(AT_ONCE, most - removed)
            async with store_deadline(self._timeout_seconds):
                gone = await self._redis.xtrim(keyspace.LOG, minid=before, approximate=True, limit=limit)
            if not gone:
                break
            removed += gone
        return removed
