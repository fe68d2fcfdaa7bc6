"""Following the log of steps: its entries in their order, and the records where the log does not tell all.

What a page of the log says is written with the position in the log, and then confirmed to Redis, which keeps
entries and orders until then. Where the entry that was read last is not in the log any more, every record is
read instead.

A follower asks every quarter of a second instead of waiting for an entry: batches grow with the load, where
a waiting reader would be woken, and would write, for each entry.
"""

import contextlib
import secrets
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from shared import keyspace
from shared.errors import StoreUnavailable
from shared.logs import get_logger
from shared.messaging.waiting import repeating
from shared.orders.model import OrderStatus, Trouble
from shared.orders.records import OrderRecord
from shared.orders.redis.log import START, LogEntry, LogPosition, OrderLog
from shared.orders.redis.reading import fetch_records
from shared.redis.client import Redis, store_deadline
from shared.redis.lease import Lease

ORDERS_AT_ONCE: Final = 500
PAUSE_SECONDS: Final = 0.25
MEASURE_SECONDS: Final = 1.0
LEASE_SECONDS: Final = 20.0
REBUILD: Final = "rebuild"
"""In the place of a position: the operator wants everything read anew."""
CAUSES: Final = {"": "first", REBUILD: "rebuild"}
"""Why everything is read from the records, by what stands in the place of a position."""
INDEXES: Final = (*OrderStatus, *Trouble)

log = get_logger(__name__)


class FollowerFigures:
    """What a follower shows, under the name of its service."""

    def __init__(self, service: str, registry: CollectorRegistry) -> None:
        self.steps = Counter(f"{service}_steps", "Entries of the log of steps read", registry=registry)
        self.heals = Counter(
            f"{service}_heals", "Times that the records were read, by cause", ["cause"], registry=registry
        )
        self.unrecorded = Counter(
            f"{service}_orders_without_record", "Orders in the log whose record is gone", registry=registry
        )
        self.entries_behind = Gauge(
            f"{service}_entries_behind", "Entries of the log of steps yet to be read", registry=registry
        )
        self.seconds_behind = Gauge(
            f"{service}_seconds_behind", "Age of the first entry yet to be read", registry=registry
        )
        for cause in (*CAUSES.values(), "interrupted", "lost"):
            self.heals.labels(cause)


class LogFollower(ABC):
    """Brings a service's database up to the log. One replica at a time does, by a lease.

    Subclasses say what is written. Their methods raise DependencyUnavailable.
    """

    def __init__(
        self,
        service: str,
        redis: Redis,
        figures: FollowerFigures,
        *,
        timeout_seconds: float,
        entries_at_once: int,
    ) -> None:
        self._service = service
        self._log = OrderLog(redis, timeout_seconds=timeout_seconds)
        self._redis: Any = redis
        self._lease = Lease(redis, keyspace.service_lease(service), timeout_seconds=timeout_seconds)
        self._figures = figures
        self._timeout_seconds = timeout_seconds
        self._entries_at_once = entries_at_once
        self._confirmed = ""
        self._position: LogPosition | None = None

    @abstractmethod
    async def _stored_position(self) -> LogPosition:
        """How far the log was read."""

    @abstractmethod
    async def _write(self, entries: Sequence[LogEntry], since: LogPosition, until: LogPosition) -> bool:
        """Writes what these say, and the position; False where another has gone on from ``since``."""

    @abstractmethod
    async def _write_records(
        self, records: Sequence[OrderRecord], read_until: int, since: LogPosition, until: LogPosition
    ) -> bool:
        """The same of whole orders. Steps from before ``read_until``, microseconds since the epoch, had been
        read when the log was lost; 0 where that is not known. What takes several transactions asks
        ``_still_reads`` between them: one page must not outlast the lease.
        """

    async def run(self) -> None:
        """Follows until cancelled, and waits where what it needs is away; then another may at once."""
        try:
            await repeating(self.follow, PAUSE_SECONDS, what=f"{self._service} following the log")
        finally:
            with contextlib.suppress(StoreUnavailable):
                await self._lease.release()

    async def measure(self) -> None:
        """Keeps the figures about its lag, until cancelled."""
        await repeating(self.measure_once, MEASURE_SECONDS, what=f"the lag of {self._service}")

    async def follow(self) -> None:
        """Writes what there is. Raises DependencyUnavailable."""
        while await self._lease.hold(LEASE_SECONDS) and await self.follow_once():
            pass

    async def follow_once(self) -> bool:
        """Writes one page; whether there is more. Raises DependencyUnavailable."""
        position = self._position or await self._stored_position()
        self._position = None  # asked for again, unless this one's end is written now
        if not position.is_known:
            return await self._heal(position, CAUSES.get(position.log_id, "interrupted"))
        page = await self._log.read(position, self._entries_at_once)
        if page is None:
            return await self._heal(position, "lost")
        if page.read:
            if not await self._write(page.entries, position, page.end):
                return True
            self._position = page.end
            self._figures.steps.inc(page.read)
        await self._confirm(page.end)
        return page.read == self._entries_at_once

    async def measure_once(self) -> None:
        """Measures now. Raises DependencyUnavailable."""
        position = await self._stored_position()
        lag = await self._log.lag(position if position.is_known else LogPosition(log_id=START))
        self._figures.entries_behind.set(lag.entries)
        self._figures.seconds_behind.set(lag.seconds)

    async def _confirm(self, position: LogPosition) -> None:
        if self._confirmed != position.log_id:
            await self._log.confirm(self._service, position)
            self._confirmed = position.log_id

    async def _still_reads(self) -> bool:
        """Whether the lease is this replica's, which has it for another while."""
        return await self._lease.hold(LEASE_SECONDS)

    async def _records(self, order_ids: Sequence[str]) -> list[OrderRecord]:
        """Those that there are; the others are counted."""
        found: list[OrderRecord | None] = []
        for start in range(0, len(order_ids), ORDERS_AT_ONCE):
            async with store_deadline(self._timeout_seconds):
                found += await fetch_records(self._redis, order_ids[start : start + ORDERS_AT_ONCE])
        return [record for record in found if record is not None]

    def _count_unrecorded(self, count: int) -> None:
        self._figures.unrecorded.inc(count)
        log.warning("orders without a record: their entries are all there is", count=count)

    async def _heal(self, position: LogPosition, cause: str) -> bool:
        """Writes every order that has a record, then goes on from where the log ended before.

        False where another replica heals. What has happened since is in the log; the mark keeps a reader out
        that read records before this one did, and has the last position that was known.
        """
        end = await self._log.end()
        read_until = position.read_until
        mark = LogPosition(log_id=f"healing:{secrets.token_hex(4)}:{position.last_known}")
        self._figures.heals.labels(cause).inc()
        level = log.warning if cause == "lost" else log.info
        level(
            f"{self._service} reads the records instead of the log",
            cause=cause,
            position=position.log_id,
            log_ends=end.log_id,
        )
        if not await self._write((), position, mark):
            return False
        count = 0
        for index in INDEXES:
            cursor = 0
            while True:
                async with store_deadline(self._timeout_seconds):
                    cursor, places = await self._redis.zscan(
                        keyspace.orders_in(index), cursor, count=ORDERS_AT_ONCE
                    )
                # one that moves in the index meanwhile may be told twice
                records = await self._records(list(dict.fromkeys(order_id for order_id, _ in places)))
                if not await self._still_reads() or not await self._write_records(
                    records, read_until, mark, mark
                ):
                    return False
                count += len(records)
                if not cursor:
                    break
        log.info(f"{self._service} has read the records", orders=count)
        return await self._write((), mark, end)
