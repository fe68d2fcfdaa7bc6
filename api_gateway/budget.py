"""What new orders may still take of the store, once its memory runs short.

An order stays in the store for its retention, so a client that places large orders as fast as it can fills
the store in minutes, and then no client is served for days. Above 70 % of the memory an order is therefore
refused where its client has lately stored more than half of what is left, and above 85 % where it is large.
Known orders are answered as ever.
"""

import asyncio
from collections import Counter
from typing import Final

from redis.exceptions import ResponseError

from shared.errors import StoreUnavailable
from shared.logs import get_logger
from shared.messages import Order
from shared.redis.client import Redis, store_deadline

ORDER_BYTES: Final = 1_500
ITEM_BYTES: Final = 140
"""What an order and each of its items take of the store: 1.5 kB with one item, 11.7 with 100, as measured;
and 36 bytes more for a price with a name of 30 letters.
"""
LARGE_BYTES: Final = ORDER_BYTES + 25 * ITEM_BYTES
SHORT: Final = 0.3
"""Of its memory, what is left where the store begins to count who takes it."""
VERY_SHORT: Final = 0.15
PAUSE_SECONDS: Final = 1.0
HALVING_SECONDS: Final = 600.0
"""After so long, half of what a client has stored counts no more."""
MOST_CLIENTS: Final = 10_000

log = get_logger(__name__)


class StoreBudget:
    """Judges new orders by the store's memory and by what their clients have stored lately."""

    def __init__(self, redis: Redis, *, timeout_seconds: float) -> None:
        self._redis = redis
        self._timeout_seconds = timeout_seconds
        self._lately: Counter[str] = Counter()
        self._left = 1.0
        self._left_bytes = 0

    def has_room(self, client: str, order: Order) -> bool:
        """Whether the order may be stored. A store that is full already says so itself."""
        if self._left >= SHORT or self._left <= 0:
            return True
        size = size_of(order)
        if size > LARGE_BYTES and self._left < VERY_SHORT:
            return False
        return 2 * (self._lately[client] + size) <= self._left_bytes

    def stored(self, client: str, order: Order) -> None:
        """The order takes its part of the store now."""
        self._lately[client] += size_of(order)

    async def run(self) -> None:
        """Looks at the store's memory again and again, until cancelled."""
        clock = asyncio.get_running_loop().time
        halved = clock()
        while True:
            await self.look()
            if clock() - halved >= HALVING_SECONDS:
                halved = clock()
                self.halve()
            await asyncio.sleep(PAUSE_SECONDS)

    async def look(self) -> None:
        """Asks once. What was known last holds while the store does not tell."""
        try:
            async with store_deadline(self._timeout_seconds):
                try:
                    told = await self._redis.info("memory")
                except ResponseError:  # it does not know INFO, or may not tell
                    return
        except StoreUnavailable:
            return
        limit, was_short = int(told.get("maxmemory", 0)), self._left < SHORT
        self._left_bytes = limit - int(told.get("used_memory", 0))
        self._left = self._left_bytes / limit if limit else 1.0
        if was_short != (self._left < SHORT):
            log.warning("the store's memory", left=round(self._left, 3), is_short=not was_short)

    def halve(self) -> None:
        """Forgets half of what each client has stored, and the clients of whom little is left."""
        most = self._lately.most_common(MOST_CLIENTS)
        self._lately = Counter({client: size // 2 for client, size in most if size >= ORDER_BYTES})


def size_of(order: Order) -> int:
    """About how many bytes of the store an order takes."""
    return ORDER_BYTES + ITEM_BYTES * len(order.items)
