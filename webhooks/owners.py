"""Whose orders are, by their records in the store, and which customers are gone."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from shared import keyspace
from shared.redis.client import Redis, round_trip, store_deadline
from webhooks.model import owner_of


class RedisOwners:
    """Reads two fields of each record, and who wants no webhooks. Of an order whose record is gone nobody
    knows whose it was."""

    def __init__(self, redis: Redis, *, timeout_seconds: float) -> None:
        self._redis: Any = redis
        self._timeout_seconds = timeout_seconds

    async def owners_of(self, order_ids: Sequence[str]) -> Mapping[str, str]:
        """As the port has it."""
        asked = list(dict.fromkeys(order_ids))
        commands = [("HMGET", keyspace.order(order_id), "status", "customer") for order_id in asked]
        async with store_deadline(self._timeout_seconds):
            found = await round_trip(self._redis, commands)
        fields = zip(asked, found, strict=True)
        customers = {each: customer for each, (status, customer) in fields if status is not None}
        declined = await self._declining(customers.values())
        return {each: owner_of(name) for each, name in customers.items() if name not in declined}

    async def _declining(self, customers: Iterable[str | None]) -> Collection[str]:
        """Those of the customers who want no webhooks: their endpoints are promised nothing meanwhile."""
        names = list(dict.fromkeys(name for name in customers if name is not None))
        if not names:
            return ()
        async with store_deadline(self._timeout_seconds):
            since = await self._redis.zmscore(keyspace.declined(keyspace.Channel.WEBHOOK), names)
        return {name for name, at in zip(names, since, strict=True) if at is not None}

    async def gone(self) -> Collection[str]:
        """Customers whose webhooks are to go. Raises StoreUnavailable."""
        async with store_deadline(self._timeout_seconds):
            found: set[str] = await self._redis.smembers(keyspace.WEBHOOKS_GONE)
        return found

    async def forget(self, customers: Collection[str]) -> None:
        """Their webhooks are gone. Raises StoreUnavailable."""
        async with store_deadline(self._timeout_seconds):
            await self._redis.srem(keyspace.WEBHOOKS_GONE, *customers)
