"""Taking a customer's address out of the orders that have come to their end."""

from dataclasses import replace
from typing import Any, Final

from shared import keyspace
from shared.messages import encode_order
from shared.orders.records import OrderRecord
from shared.orders.redis.reading import fetch_records
from shared.orders.redis.scripts import load
from shared.redis.client import Redis, store_deadline
from shared.redis.scripts import ScriptCall

ORDERS_AT_ONCE: Final = 100


class RedisOrderErasure:
    """What names a customer in the store is the address in its orders, and what a mail server said of it."""

    def __init__(self, redis: Redis, *, timeout_seconds: float) -> None:
        self._redis: Any = redis
        self._timeout_seconds = timeout_seconds
        self._erase = load("erase")

    async def erase(self, customer: str) -> bool:
        """Erases what may be erased by now; whether nothing is left. Raises StoreUnavailable."""
        left = 0
        while True:
            async with store_deadline(self._timeout_seconds):
                order_ids = await self._redis.zrange(
                    keyspace.orders_of(customer), left, left + ORDERS_AT_ONCE - 1
                )
                records = await fetch_records(self._redis, order_ids)
                calls = [
                    _call(customer, order_id, record)
                    for order_id, record in zip(order_ids, records, strict=True)
                ]
                answers = await self._erase.run_many(self._redis, calls) if calls else []
            left += sum(answer != 1 for answer in answers)
            if len(order_ids) < ORDERS_AT_ONCE:
                return not left


def _call(customer: str, order_id: str, record: OrderRecord | None) -> ScriptCall:
    """A record that is gone leaves the index alone to be tidied; one that cannot be read stays as it is."""
    keys = [
        keyspace.order(order_id),
        keyspace.orders_of(customer),
        keyspace.notifications(order_id),
        keyspace.UNTOLD,
    ]
    if record is None:
        return ScriptCall(keys, [order_id, customer, "", ""])
    erased = encode_order(replace(record.order, email=None))
    return ScriptCall(keys, [order_id, customer, record.accepted_at_microseconds, erased])
