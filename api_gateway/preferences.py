"""By which channels customers want to be told of their orders, in Redis."""

from collections.abc import Collection
from typing import Any

from shared import keyspace
from shared.keyspace import Channel
from shared.orders.redis.scripts import load
from shared.redis.client import Redis, round_trip, store_deadline

_KEYS = tuple(map(keyspace.declined, Channel))


class RedisPreferences:
    """A set of customers for each channel: those that decline it, by since when. Most are in none."""

    def __init__(self, redis: Redis, *, timeout_seconds: float) -> None:
        self._redis: Any = redis
        self._timeout_seconds = timeout_seconds
        self._prefer = load("prefer", "api_gateway")

    async def declined_by(self, customer: str) -> Collection[Channel]:
        async with store_deadline(self._timeout_seconds):
            since = await round_trip(self._redis, [("ZSCORE", key, customer) for key in _KEYS])
        return [channel for channel, at in zip(Channel, since, strict=True) if at is not None]

    async def decline(self, customer: str, channels: Collection[Channel]) -> None:
        async with store_deadline(self._timeout_seconds):
            choices = [int(channel in channels) for channel in Channel]
            await self._prefer.run(self._redis, _KEYS, [customer, *choices])
