"""What the pages about orders need of Redis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared import keyspace
from shared.keyspace import NotificationStatus
from shared.orders.model import Trouble
from shared.orders.records import OrderRecord
from shared.orders.redis.log import LogEntry, OrderLog
from shared.orders.redis.reading import fetch_notification, fetch_records
from shared.redis.client import Redis, store_deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An order, what its customer was told, and whether it waits in the outbox for a broker."""

    record: OrderRecord
    notification: Mapping[str, str]
    is_in_outbox: bool

    @property
    def has_died(self) -> bool:
        """Whether its message, or what its customer was to be told, was given up."""
        is_told = self.notification.get("status") != NotificationStatus.FAILED
        return self.record.trouble is Trouble.DEAD or not is_told


class OrderFinder:
    """Reads single orders. Methods raise StoreUnavailable."""

    def __init__(self, redis: Redis, log: OrderLog, *, timeout_seconds: float) -> None:
        self._redis: Any = redis
        self._log = log
        self._timeout_seconds = timeout_seconds

    async def find(self, order_id: str) -> Found | None:
        """The order as it stands; None where the store has none."""
        async with store_deadline(self._timeout_seconds):
            (record,) = await fetch_records(self._redis, [order_id])
            if record is None:
                return None
            told = await fetch_notification(self._redis, order_id)
            waits = await self._redis.zscore(keyspace.OUTBOX, order_id)
        return Found(record=record, notification=told, is_in_outbox=waits is not None)

    async def latest(self, limit: int) -> Sequence[LogEntry]:
        """The last steps of all orders, newest first."""
        return await self._log.latest(limit)

    async def in_trouble(self, limit: int) -> Sequence[OrderRecord]:
        """Orders that something keeps from being decided: the oldest of each kind."""
        async with store_deadline(self._timeout_seconds):
            ids: list[str] = []
            for trouble in reversed(Trouble):
                ids += await self._redis.zrange(keyspace.orders_in(trouble), 0, limit - 1)
            records = await fetch_records(self._redis, ids)
        return [record for record in records if record is not None and record.trouble is not None]
