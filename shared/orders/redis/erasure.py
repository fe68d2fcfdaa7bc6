"""Taking a customer's address out of the orders that have come to their end."""

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Final

from shared import keyspace
from shared.messages import content_fingerprint, encode_order
from shared.orders.model import FINAL
from shared.orders.moves import ANNOUNCED, told_steps
from shared.orders.records import OrderRecord
from shared.orders.redis.reading import fetch_records
from shared.orders.redis.scripts import load
from shared.redis.client import Redis, store_deadline
from shared.redis.scripts import ScriptCall

ORDERS_AT_ONCE: Final = 100
MOST_LISTED: Final = 10_000
"""Orders whose dead letters are yet to be looked for; others are erased once there are fewer."""


class RedisOrderErasure:
    """What names a customer in the store is the address in its orders, and what a mail server said of it."""

    def __init__(self, redis: Redis, *, timeout_seconds: float, retention_seconds: float) -> None:
        self._redis: Any = redis
        self._timeout_seconds = timeout_seconds
        self._retention_seconds = math.ceil(retention_seconds)
        self._erase = load("erase")

    async def erase(self, customer: str) -> bool:
        """Erases what may be erased by now; whether nothing is left. Raises StoreUnavailable."""
        async with store_deadline(self._timeout_seconds):
            await self._redis.sadd(keyspace.WEBHOOKS_GONE, customer)
        left = 0
        while True:
            async with store_deadline(self._timeout_seconds):
                if await self._redis.zcard(keyspace.ERASED) >= MOST_LISTED:
                    return False
                order_ids = await self._redis.zrange(
                    keyspace.orders_of(customer), left, left + ORDERS_AT_ONCE - 1
                )
                records = await fetch_records(self._redis, order_ids)
                calls = [
                    self._call(customer, order_id, record)
                    for order_id, record in zip(order_ids, records, strict=True)
                ]
                answers = await self._erase.run_many(self._redis, calls) if calls else []
            left += sum(answer != 1 for answer in answers)
            if len(order_ids) < ORDERS_AT_ONCE:
                return not left

    async def forget(self, customer: str) -> None:
        """Erases how the customer wanted to be told. Raises StoreUnavailable."""
        async with store_deadline(self._timeout_seconds), self._redis.pipeline(transaction=False) as pipeline:
            for channel in keyspace.Channel:
                pipeline.zrem(keyspace.declined(channel), customer)
            await pipeline.execute()

    def _call(self, customer: str, order_id: str, record: OrderRecord | None) -> ScriptCall:
        """A record that is gone leaves the index alone to be tidied; one that cannot be read stays."""
        steps = told_steps(record.status, record.outcome) if record and record.status in FINAL else ()
        *before, event_id = [f"{order_id}:{ANNOUNCED[step]}" for step in steps] or [""]
        keys = [
            keyspace.order(order_id),
            keyspace.orders_of(customer),
            keyspace.notifications(order_id),
            keyspace.UNTOLD,
            keyspace.notification_claim(event_id),
            keyspace.ERASED,
            *map(keyspace.notification_claim, before),
        ]
        if record is None:
            return ScriptCall(keys, [order_id, customer, "", "", "", "", 0])
        order = record.order
        erased, content = encode_order(replace(order, email=None)), f"{order_id}:{content_fingerprint(order)}"
        times = record.accepted_at_microseconds, self._retention_seconds
        return ScriptCall(keys, [order_id, customer, times[0], erased, content, event_id, times[1], *before])


class RedisErasedOrders:
    """Orders of which a message may still carry the address, as ``{order id}:{content fingerprint}``."""

    def __init__(self, redis: Redis, *, timeout_seconds: float) -> None:
        self._redis: Any = redis
        self._timeout_seconds = timeout_seconds

    async def ages(self) -> Mapping[str, float]:
        """How many seconds ago each was erased."""
        async with store_deadline(self._timeout_seconds), self._redis.pipeline(transaction=False) as pipeline:
            pipeline.zrange(keyspace.ERASED, 0, -1, withscores=True)
            pipeline.time()
            found, (seconds, microseconds) = await pipeline.execute()
        return {content: seconds + (microseconds - at) / 1_000_000 for content, at in found}

    async def forget(self, contents: Collection[str]) -> None:
        """No message carries their address any more."""
        async with store_deadline(self._timeout_seconds):
            await self._redis.zrem(keyspace.ERASED, *contents)
