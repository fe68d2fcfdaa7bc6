"""Customers who are gone, by the store."""

from collections.abc import Collection
from typing import Any

from shared import keyspace
from shared.redis.client import Redis, store_deadline


class RedisGoneCustomers:
    """As housekeeping asks for them. Methods raise StoreUnavailable."""

    def __init__(self, redis: Redis, *, timeout_seconds: float) -> None:
        self._redis: Any = redis
        self._timeout_seconds = timeout_seconds

    async def gone(self) -> Collection[str]:
        """Customers whose webhooks are to go."""
        async with store_deadline(self._timeout_seconds):
            found: set[str] = await self._redis.smembers(keyspace.WEBHOOKS_GONE)
        return found

    async def forget(self, customers: Collection[str]) -> None:
        """Their webhooks are gone."""
        async with store_deadline(self._timeout_seconds):
            await self._redis.srem(keyspace.WEBHOOKS_GONE, *customers)
