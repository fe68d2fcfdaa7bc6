"""Whose orders are, by their records in the store."""

from collections.abc import Mapping, Sequence

from shared import keyspace
from shared.redis.client import Redis, round_trip, store_deadline


class RedisOwners:
    """Reads the one field of each record. An order whose record is gone has no owner any more."""

    def __init__(self, redis: Redis, *, timeout_seconds: float) -> None:
        self._redis = redis
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
