"""Whose orders are, by their records in the store, and which customers are gone."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from shared import keyspace
from shared.redis.client import Redis, round_trip, store_deadline


class RedisOwners:
    """Reads the one field of each record. An order whose record is gone has no owner any more."""

    def __init__(self, redis: Redis, *, timeout_seconds: float) -> None:
        self._redis: Any = redis
        self._timeout_seconds = timeout_seconds

    async def customers_of(self, order_ids: Sequence[str]) -> Mapping[str, str]:
        """As the port has it."""
        asked = list(dict.fromkeys(order_ids))
        commands = [("HGET", keyspace.order(order_id), "customer") for order_id in asked]
        async with store_deadline(self._timeout_seconds):
            found = await round_trip(self._redis, commands)
        return {
            each: owner for each, owner in zip(asked, found, strict=True) if isinstance(owner, str) and owner
        }

    async def gone(self) -> Collection[str]:
        """Customers whose webhooks are to go. Raises StoreUnavailable."""
        async with store_deadline(self._timeout_seconds):
            found: set[str] = await self._redis.smembers(keyspace.WEBHOOKS_GONE)
        return found

    async def forget(self, customers: Collection[str]) -> None:
        """Their webhooks are gone. Raises StoreUnavailable."""
        async with store_deadline(self._timeout_seconds):
            await self._redis.srem(keyspace.WEBHOOKS_GONE, *customers)
