"""Customers as the store knows them: those who want no webhooks, and those who are gone."""

from collections.abc import Collection, Iterable
from typing import Any

from shared import keyspace
from shared.redis.client import Redis, store_deadline


class RedisCustomers:
    """Methods raise StoreUnavailable."""

    def __init__(self, redis: Redis, *, timeout_seconds: float) -> None:
        self._redis: Any = redis
        self._timeout_seconds = timeout_seconds

    async def declining(self, customers: Iterable[str | None]) -> Collection[str]:
        """Those of them who want no webhooks: their endpoints are promised nothing meanwhile."""
        names = list(dict.fromkeys(name for name in customers if name is not None))
        if not names:
            return ()
        async with store_deadline(self._timeout_seconds):
            since = await self._redis.zmscore(keyspace.declined(keyspace.Channel.WEBHOOK), names)
        return {name for name, at in zip(names, since, strict=True) if at is not None}

    async def gone(self) -> Collection[str]:
        """Those whose webhooks are to go."""
        async with store_deadline(self._timeout_seconds):
            found: set[str] = await self._redis.smembers(keyspace.WEBHOOKS_GONE)
        return found

    async def forget(self, customers: Collection[str]) -> None:
        """Their webhooks are gone."""
        async with store_deadline(self._timeout_seconds):
            await self._redis.srem(keyspace.WEBHOOKS_GONE, *customers)
