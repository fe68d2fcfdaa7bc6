"""Follows the log of steps into the ledger, and reads the records where the log does not tell all.

An order whose last step is known to be written is told on by the log's entries, as long as they follow on it
without a gap; every other one is written from its record, which has all of its steps. What a batch says is
written with the position in the log, and then confirmed to Redis, which keeps entries and orders until then.

It asks every quarter of a second instead of waiting for an entry: batches grow with the load, where a waiting
reader would be woken, and would write, for each entry.
"""

import secrets
from collections.abc import Iterable, Sequence
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from ledger.spans import LedgerSpans
from ledger.store import REBUILD, Batch, LedgerStore
from shared import keyspace
from shared.logs import get_logger
from shared.messaging.waiting import repeating
from shared.orders.model import OUTCOMES, OrderStatus, Trouble
from shared.orders.records import OrderRecord
from shared.orders.redis.log import START, LogEntry, LogPosition, OrderLog
from shared.orders.redis.reading import fetch_records
from shared.redis.client import Redis, store_deadline
from shared.redis.lease import Lease
from shared.tracing import tracing

ENTRIES_AT_ONCE: Final = 2_000
ORDERS_AT_ONCE: Final = 500
PAUSE_SECONDS: Final = 0.25
MEASURE_SECONDS: Final = 1.0
LEASE_SECONDS: Final = 20.0
MOST_REMEMBERED: Final = 100_000
TOLD_BY_ENTRY: Final = frozenset((*OUTCOMES, "notified", "notification_failed", "notification_declined"))
"""Steps of which an entry says all that changes; the record says it of every other."""
CAUSES: Final = {"": "first", REBUILD: "rebuild"}
"""Why everything is read from the records, by what stands in the place of a position."""
INDEXES: Final = (*OrderStatus, *Trouble)

log = get_logger(__name__)


class FollowerFigures:
    """What the follower shows."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.steps = Counter("ledger_steps", "Entries of the log of steps read", registry=registry)
        self.heals = Counter(
            "ledger_heals", "Times that the records were read, by cause", ["cause"], registry=registry
        )
        self.unrecorded = Counter(
            "ledger_orders_without_record", "Orders in the log whose record is gone", registry=registry
        )
        self.entries_behind = Gauge("ledger_entries_behind", "Entries yet to be read", registry=registry)
        self.seconds_behind = Gauge(
            "ledger_seconds_behind", "Age of the first entry yet to be read", registry=registry
        )
        for cause in (*CAUSES.values(), "interrupted", "lost"):
            self.heals.labels(cause)


class Follower:
    """Brings the ledger up to the log. One replica at a time does, by the lease."""

    def __init__(
        self,
        store: LedgerStore,
        order_log: OrderLog,
        redis: Redis,
        lease: Lease,
        figures: FollowerFigures,
        *,
        timeout_seconds: float,
    ) -> None:
        self._store = store
        self._log = order_log
        self._redis: Any = redis
        self._lease = lease
        self._figures = figures
        self._timeout_seconds = timeout_seconds
        self._written: dict[str, int] = {}
        self._confirmed = ""
        self._position: LogPosition | None = None
        self._spans = LedgerSpans(tracing(), MOST_REMEMBERED)

    async def run(self) -> None:
        """Follows until cancelled, and waits where something that it needs is away."""
        await repeating(self.follow, PAUSE_SECONDS, what="the ledger")

    async def measure(self) -> None:
        """Keeps the figures about its lag, until cancelled."""
        await repeating(self.measure_once, MEASURE_SECONDS, what="the ledger's lag")

    async def follow(self) -> None:
        """Writes what there is. Raises DependencyUnavailable."""
        while await self._lease.hold(LEASE_SECONDS) and await self.follow_once():
            pass

    async def follow_once(self) -> bool:
        """Writes one batch; whether there is more. Raises DependencyUnavailable."""
        position = self._position or await self._store.position()
        self._position = None  # asked for again, unless this one's end is written now
        if not position.is_known:
            return await self._heal(position, CAUSES.get(position.log_id, "interrupted"))
        page = await self._log.read(position, ENTRIES_AT_ONCE)
        if page is None:
            return await self._heal(position, "lost")
        if page.read:
            batch, written = await self._batch(page.entries)
            with self._spans.writing(batch, [entry.order_id for entry in page.entries]):
                is_written = await self._store.write(batch, since=position, until=page.end)
            if not is_written:
                return True
            self._position = page.end
            self._remember(written)
            self._figures.steps.inc(page.read)
        await self._confirm(page.end)
        return page.read == ENTRIES_AT_ONCE

    async def _confirm(self, position: LogPosition) -> None:
        if self._confirmed != position.log_id:
            await self._log.confirm(position)
            self._confirmed = position.log_id

    async def _batch(self, entries: Sequence[LogEntry]) -> tuple[Batch, dict[str, int]]:
        """What these say, and the last step of each of their orders."""
        written: dict[str, int] = {}
        steps: list[LogEntry] = []
        asked: dict[str, Sequence[LogEntry]] = {}
        for order_id, found in _by_order(entries).items():
            known = self._written.get(order_id)
            fresh = [step for n, step in sorted(found.items()) if n > (known or 0)]
            if known is not None and _follow_on(fresh, known) and not _again(found, known):
                steps += fresh
                written[order_id] = known + len(fresh)
            else:
                asked[order_id] = fresh
        records = await self._records(list(asked))
        written |= {record.order.id: len(record.timeline) for record in records}
        gone = asked.keys() - written.keys()
        if gone:
            self._figures.unrecorded.inc(len(gone))
            log.warning("orders without a record: their entries are all there is", count=len(gone))
            steps += [step for order_id in gone for step in asked[order_id]]
        decisions = [step for step in steps if step.type in OUTCOMES]
        return Batch(records=records, steps=steps, decisions=decisions), written

    async def _records(self, order_ids: Sequence[str]) -> list[OrderRecord]:
        found: list[OrderRecord | None] = []
        for start in range(0, len(order_ids), ORDERS_AT_ONCE):
            async with store_deadline(self._timeout_seconds):
                found += await fetch_records(self._redis, order_ids[start : start + ORDERS_AT_ONCE])
        return [record for record in found if record is not None]

    def _remember(self, written: dict[str, int]) -> None:
        for order_id, n in written.items():
            self._written.pop(order_id, None)
            self._written[order_id] = n  # behind those that were written earlier, which are forgotten first
        while len(self._written) > MOST_REMEMBERED:
            del self._written[next(iter(self._written))]

    async def _heal(self, position: LogPosition, cause: str) -> bool:
        """Writes every order that has a record, then goes on from where the log ended before.

        False where another replica heals. What has happened since is in the log; the mark keeps a reader out
        that read records before this one did.
        """
        end = await self._log.end()
        mark = LogPosition(log_id=f"healing:{secrets.token_hex(4)}")
        self._figures.heals.labels(cause).inc()
        level = log.warning if cause == "lost" else log.info
        level(
            "the ledger is read from the records", cause=cause, position=position.log_id, log_ends=end.log_id
        )
        self._written.clear()
        if not await self._store.write(Batch(), since=position, until=mark):
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
                held = await self._lease.hold(LEASE_SECONDS)
                if not held or not await self._store.write(Batch(records=records), since=mark, until=mark):
                    return False
                count += len(records)
                if not cursor:
                    break
        log.info("the ledger was read from the records", orders=count)
        return await self._store.write(Batch(), since=mark, until=end)

    async def measure_once(self) -> None:
        """Measures now. Raises DependencyUnavailable."""
        position = await self._store.position()
        lag = await self._log.lag(position if position.is_known else LogPosition(log_id=START))
        self._figures.entries_behind.set(lag.entries)
        self._figures.seconds_behind.set(lag.seconds)


def _by_order(entries: Iterable[LogEntry]) -> dict[str, dict[int, LogEntry]]:
    found: dict[str, dict[int, LogEntry]] = {}
    for entry in entries:
        found.setdefault(entry.order_id, {}).setdefault(entry.n, entry)
    return found


def _again(found: dict[int, LogEntry], known: int) -> bool:
    """Whether a step that is written came once more: what is no step has changed its record."""
    return any(n <= known and step.type not in TOLD_BY_ENTRY for n, step in found.items())


def _follow_on(steps: Sequence[LogEntry], known: int) -> bool:
    numbers = [step.n for step in steps]
    return numbers == list(range(known + 1, known + 1 + len(steps))) and all(
        step.type in TOLD_BY_ENTRY for step in steps
    )
