"""Removing orders whose retention is over, and bringing those up to date that an older version has written.

By a sweep rather than by EXPIRE, because the sums of the orders that go must stay: ``reserved`` per SKU is
the sum over the created orders that are kept and not cancelled, plus the archive's. Orders that have not come
to their end are kept, those that are yet to be announced, told or paid back, and those whose last step a
follower of the log has not read.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from redis.exceptions import ResponseError

from shared import keyspace
from shared.errors import StoreUnavailable
from shared.logs import get_logger
from shared.messages import epoch_microseconds
from shared.orders.model import FINAL, OrderStatus
from shared.orders.moves import ANNOUNCED
from shared.orders.records import OrderRecord
from shared.orders.redis.decisions import UNSETTLED_INDEXES
from shared.orders.redis.log import OrderLog
from shared.orders.redis.reading import fetch_records
from shared.orders.redis.scripts import load
from shared.redis.client import Redis, store_deadline
from shared.redis.lease import Lease
from shared.redis.memory import memory_used
from shared.redis.scripts import ScriptCall

UNDECIDED: Final = "undecided"
"""What the archive counts those under that were cancelled before a decision, once more."""
SWEEP_BATCH: Final = 200
MOST_MEMORY: Final = 0.7
"""Of the store's memory; beyond, orders go before their retention is over."""
LEAST_PART: Final = 2
"""The part of its retention for which an order is kept in any case: so old a message recreates none, as the
processor has it."""
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
        self._log = OrderLog(redis, timeout_seconds=timeout_seconds)
        self._sweep = load("sweep")
        self._migrate = load("migrate")
        self._told = load("told")

    async def run(self) -> None:
        """Sweeps again and again, until cancelled."""
        while True:
            try:
                if await self._lease.hold(LEASE_SECONDS):
                    await self.migrate_once()
                    await self.forget_told()
                    await self.sweep_once()
                await self._tell_retention()  # last, since a full store refuses it
            except StoreUnavailable as error:
                log.warning("sweep waits", reason=str(error))
            await asyncio.sleep(PAUSE_SECONDS)

    async def _tell_retention(self) -> None:
        """Who verifies judges by what is kept, whatever its own settings are."""
        async with store_deadline(self._timeout_seconds):
            await self._redis.zadd(keyspace.KEPT, {keyspace.KEPT_SECONDS: self._retention / 1_000_000})

    async def migrate_once(self) -> int:
        """Makes trouble of what an older processor, which may run still, has written as a status.

        Returns how many orders it changed. Raises StoreUnavailable.
        """
        accepted, *troubles = UNSETTLED_INDEXES
        changed = 0
        for index in troubles:
            async with store_deadline(self._timeout_seconds):
                order_ids: list[str] = await self._redis.zdiff([index, accepted])
            for start in range(0, len(order_ids), SWEEP_BATCH):
                calls = [
                    ScriptCall([keyspace.order(order_id), *UNSETTLED_INDEXES], [order_id])
                    for order_id in order_ids[start : start + SWEEP_BATCH]
                ]
                async with store_deadline(self._timeout_seconds):
                    answers = await self._migrate.run_many(self._redis, calls)
                changed += sum(answer for answer in answers if not isinstance(answer, ResponseError))
        if changed:
            log.info("migrated orders that an older version had written", count=changed)
        return changed

    async def forget_told(self) -> int:
        """Takes the events off the list of untold ones that an older version has told of, from the oldest on.

        It stops where customers do wait. Returns how many left. Raises StoreUnavailable.
        """
        removed = 0
        while event_ids := await self._oldest_untold():
            async with store_deadline(self._timeout_seconds):
                answers = await self._told.run_many(self._redis, [_told(event_id) for event_id in event_ids])
            gone = sum(answer for answer in answers if not isinstance(answer, ResponseError))
            removed += gone
            if not gone:
                break
        return removed

    async def _oldest_untold(self) -> list[str]:
        async with store_deadline(self._timeout_seconds):
            event_ids: list[str] = await self._redis.zrange(keyspace.UNTOLD, 0, SWEEP_BATCH - 1)
        return event_ids

    async def sweep_once(self) -> int:
        """Removes every order whose retention is over; returns how many. Raises StoreUnavailable."""
        async with store_deadline(self._timeout_seconds):
            seconds, microseconds = await self._redis.time()
        now = seconds * 1_000_000 + microseconds
        read_until = await self._log.confirmed_until()
        removed = early = 0
        for status in sorted(FINAL):
            removed += await self._sweep_status(status, now - self._retention, read_until)
        if removed:
            log.info("removed orders whose retention is over", count=removed)
        for status in sorted(FINAL):
            early += await self._sweep_status(
                status, now - self._retention // LEAST_PART, read_until, in_need=True
            )
        if early:
            log.warning("removed orders before their retention is over: memory is short", count=early)
        return removed + early

    async def _sweep_status(
        self, status: OrderStatus, cutoff: int, read_until: int | None, *, in_need: bool = False
    ) -> int:
        """What must stay is passed over by its rank: many orders may share one time, which clients choose.

        ``in_need`` removes no more than it takes to have memory again.
        """
        removed = passed_over = 0
        while (not in_need or await self._is_short_of_memory()) and (
            order_ids := await self._oldest(status, passed_over, cutoff)
        ):
            gone = await self._remove(status, order_ids, cutoff, read_until)
            removed, passed_over = removed + gone, passed_over + len(order_ids) - gone
            if not await self._lease.hold(LEASE_SECONDS):
                break
        return removed

    async def _is_short_of_memory(self) -> bool:
        return await memory_used(self._redis, timeout_seconds=self._timeout_seconds) > MOST_MEMORY

    async def _oldest(self, status: OrderStatus, passed_over: int, cutoff: int) -> list[str]:
        async with store_deadline(self._timeout_seconds):
            order_ids: list[str] = await self._redis.zrange(
                keyspace.orders_in(status),
                "-inf",
                cutoff,
                byscore=True,
                offset=passed_over,
                num=SWEEP_BATCH,
            )
        return order_ids

    async def _remove(
        self, status: OrderStatus, order_ids: list[str], cutoff: int, read_until: int | None
    ) -> int:
        events = [f"{order_id}:{ANNOUNCED[status]}" for order_id in order_ids]
        moves = [f"{order_id}:{status.value}" for order_id in order_ids]
        async with store_deadline(self._timeout_seconds):
            records = await fetch_records(self._redis, order_ids)
            untold = await self._redis.zmscore(keyspace.UNTOLD, events)
            unannounced = await self._redis.zmscore(keyspace.MOVES, moves)
            unpaid = await self._redis.zmscore(keyspace.PAYMENTS_DUE, order_ids)
        leaving = [
            (order_id, record)
            for order_id, record, *waits in zip(order_ids, records, untold, unannounced, unpaid, strict=True)
            if record is None
            or (waits == [None, None, None] and _is_over(record, cutoff) and _is_read(record, read_until))
        ]
        if not leaving:
            return 0
        calls = [_removal(status, order_id, record) for order_id, record in leaving]
        async with store_deadline(self._timeout_seconds):
            results = await self._sweep.run_many(self._redis, calls)
        gone = [call.arguments[0] for call, removed in zip(calls, results, strict=True) if removed == 1]
        await self._forget_claims(gone)
        return len(gone)

    async def _forget_claims(self, order_ids: Sequence[str | int]) -> None:
        """Whose id is used again is told again. After a death here they go with their own time."""
        claims = [
            keyspace.notification_claim(f"{order_id}:{event}")
            for order_id in order_ids
            for event in ANNOUNCED.values()
        ]
        if claims:
            async with store_deadline(self._timeout_seconds):
                await self._redis.unlink(*claims)


def _is_over(record: OrderRecord, cutoff: int) -> bool:
    return record.ended_at is not None and epoch_microseconds(record.ended_at) <= cutoff


def _is_read(record: OrderRecord, until: int | None) -> bool:
    """Whether followers of the log have its last step; nothing waits for one that never was."""
    return until is None or all(epoch_microseconds(step.at) < until for step in record.timeline[-1:])


def _told(event_id: str) -> ScriptCall:
    order_id = event_id.partition(":")[0]
    keys = [
        keyspace.UNTOLD,
        keyspace.notification_claim(event_id),
        keyspace.notifications(order_id),
        keyspace.order(order_id),
    ]
    return ScriptCall(keys, [event_id])


def _removal(status: OrderStatus, order_id: str, record: OrderRecord | None) -> ScriptCall:
    """Without a record, what is left of a removal that was cut."""
    owner = None if record is None else record.customer
    keys = [
        keyspace.order(order_id),
        keyspace.orders_in(status),
        keyspace.ARCHIVE,
        keyspace.decision(order_id),
        keyspace.move(order_id),
        keyspace.orders_in(status) if owner is None else keyspace.orders_of(owner),
        keyspace.notifications(order_id),
        keyspace.claim(order_id),
        keyspace.provider(order_id),
        keyspace.KEPT,
    ]
    arguments: list[str | int] = [order_id, status.value]
    if record is None or record.ended_at is None:
        return ScriptCall(keys, [*arguments, "", keyspace.REMOVED_UNTIL])
    if record.idempotency_key:
        keys.append(keyspace.idempotency_key(record.idempotency_key, owner))
        keys.append(keyspace.older_idempotency_key(record.idempotency_key))
    arguments += [epoch_microseconds(record.ended_at), keyspace.REMOVED_UNTIL]
    for item in record.order.items:
        arguments += [item.sku, item.qty]
    return ScriptCall(keys, arguments)
