"""Removing orders whose retention is over.

By a sweep rather than by EXPIRE, because the sums of the orders that go must stay: ``reserved`` per SKU is
the sum over the created orders that are kept, plus the archive's. Orders that are undecided or dead are kept.
"""

import asyncio
from typing import Any, Final

from redis.exceptions import ResponseError

from shared import keyspace
from shared.errors import StoreUnavailable
from shared.logs import get_logger
from shared.messages import epoch_microseconds
from shared.orders.model import OrderStatus
from shared.orders.records import OrderRecord
from shared.orders.redis.reading import fetch_records
from shared.redis.client import Redis, store_answer
from shared.redis.lease import Lease
from shared.redis.scripts import Script, ScriptCall

DECIDED: Final = (OrderStatus.CREATED, OrderStatus.REJECTED)
SWEEP_BATCH: Final = 200
LEASE_SECONDS: Final = 30.0
PAUSE_SECONDS: Final = 60.0

log = get_logger(__name__)


class Sweep:
    """Removes old orders in batches, one processor at a time."""

    def __init__(
        self, redis: Redis, *, timeout_seconds: float, retention_seconds: float, lease: Lease
    ) -> None:
        self._redis: Any = redis
        self._timeout_seconds = timeout_seconds
        self._retention = round(retention_seconds * 1_000_000)
        self._lease = lease
        self._script = Script.load("shared.orders.redis", "sweep")

    async def run(self) -> None:
        """Sweeps again and again, until cancelled."""
        while True:
            try:
                if await self._lease.hold(LEASE_SECONDS):
                    await self.sweep_once()
            except StoreUnavailable as error:
                log.warning("sweep waits", reason=str(error))
            await asyncio.sleep(PAUSE_SECONDS)

    async def sweep_once(self) -> int:
        """Removes every decided order whose retention is over; returns how many. Raises StoreUnavailable."""
        async with store_answer(self._timeout_seconds):
            seconds, microseconds = await self._redis.time()
        cutoff = seconds * 1_000_000 + microseconds - self._retention
        removed = 0
        for status in DECIDED:
            removed += await self._sweep_status(status, cutoff)
        if removed:
            log.info("removed orders whose retention is over", count=removed)
        return removed

    async def _sweep_status(self, status: OrderStatus, cutoff: int) -> int:
        removed, after = 0, "-inf"
        while places := await self._oldest(status, after, cutoff):
            after = f"({places[-1][1]:.0f}"
            removed += await self._remove(status, [order_id for order_id, _ in places], cutoff)
            if not await self._lease.hold(LEASE_SECONDS):
                break
        return removed

    async def _oldest(self, status: OrderStatus, after: str, cutoff: int) -> list[tuple[str, float]]:
        async with store_answer(self._timeout_seconds):
            places: list[tuple[str, float]] = await self._redis.zrange(
                keyspace.orders_by_status(status),
                after,
                cutoff,
                byscore=True,
                offset=0,
                num=SWEEP_BATCH,
                withscores=True,
            )
        return places

    async def _remove(self, status: OrderStatus, order_ids: list[str], cutoff: int) -> int:
        async with store_answer(self._timeout_seconds):
            records = await fetch_records(self._redis, order_ids)
        calls = [
            _removal(status, record)
            for record in records
            if record and record.decided_at and epoch_microseconds(record.decided_at) <= cutoff
        ]
        if not calls:
            return 0
        async with store_answer(self._timeout_seconds):
            results = await self._script.run_many(self._redis, calls)
        return sum(result for result in results if not isinstance(result, ResponseError))


def _removal(status: OrderStatus, record: OrderRecord) -> ScriptCall:
    order = record.order
    keys = [
        keyspace.order(order.id),
        keyspace.orders_by_status(status),
        keyspace.ARCHIVE,
        keyspace.notifications(order.id),
        keyspace.claim(order.id),
    ]
    if record.idempotency_key:
        keys.append(keyspace.idempotency_key(record.idempotency_key))
    decided_at = epoch_microseconds(record.decided_at) if record.decided_at else 0
    arguments: list[str | int] = [order.id, status.value, decided_at]
    for item in order.items:
        arguments += [item.sku, item.qty]
    return ScriptCall(keys, arguments)
