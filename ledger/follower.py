"""What the ledger makes of the log of steps.

An order whose last step is known to be written is told on by the log's entries, as long as they follow on it
without a gap; every other one is written from its record, which has all of its steps.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from ledger.spans import LedgerSpans
from ledger.store import Batch, LedgerStore
from shared.orders.following import FollowerFigures, LogFollower
from shared.orders.model import OUTCOMES
from shared.orders.records import OrderRecord
from shared.orders.redis.log import LogEntry, LogPosition
from shared.redis.client import Redis
from shared.tracing import tracing

NAME: Final = "ledger"
ENTRIES_AT_ONCE: Final = 2_000
MOST_REMEMBERED: Final = 100_000
TOLD_BY_ENTRY: Final = frozenset((*OUTCOMES, "notified", "notification_failed", "notification_declined"))
"""Steps of which an entry says all that changes; the record says it of every other."""


class Follower(LogFollower):
    """Brings the ledger up to the log."""

    def __init__(
        self, store: LedgerStore, redis: Redis, figures: FollowerFigures, *, timeout_seconds: float
    ) -> None:
        super().__init__(
            NAME, redis, figures, timeout_seconds=timeout_seconds, entries_at_once=ENTRIES_AT_ONCE
        )
        self._store = store
        self._written: dict[str, int] = {}
        self._spans = LedgerSpans(tracing(), MOST_REMEMBERED)

    async def _stored_position(self) -> LogPosition:
        return await self._store.position()

    async def _write(self, entries: Sequence[LogEntry], since: LogPosition, until: LogPosition) -> bool:
        if not until.is_known:
            self._written.clear()  # all of it is written anew
        batch, written = await self._batch(entries)
        with self._spans.writing(batch, [entry.order_id for entry in entries]):
            is_written = await self._store.write(batch, since=since, until=until)
        if is_written:
            self._remember(written)
        return is_written

    async def _write_records(
        self, records: Sequence[OrderRecord], read_until: int, since: LogPosition, until: LogPosition
    ) -> bool:
        return await self._store.write(Batch(records=records), since=since, until=until)

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
            self._count_unrecorded(len(gone))
            steps += [step for order_id in gone for step in asked[order_id]]
        decisions = [step for step in steps if step.type in OUTCOMES]
        return Batch(records=records, steps=steps, decisions=decisions), written

    def _remember(self, written: dict[str, int]) -> None:
        for order_id, n in written.items():
            self._written.pop(order_id, None)
            self._written[order_id] = n  # behind those that were written earlier, which are forgotten first
        while len(self._written) > MOST_REMEMBERED:
            del self._written[next(iter(self._written))]


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
