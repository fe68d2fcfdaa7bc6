"""What operators did to dead letters, for the page: the last of it, kept in Redis. Logs have all of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final

from shared import keyspace
from shared.errors import StoreUnavailable
from shared.logs import get_logger
from shared.messages import epoch_microseconds, event_time
from shared.redis.client import Redis, broken_is_absent, store_deadline

MOST_KEPT: Final = 10_000
LONGEST_TEXT: Final = 512
"""Of each field of an entry: what a letter or a fault says of itself has no bound of its own."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One letter that an operator dealt with; ``at`` is Redis' time, None until it is written, and where
    it lies outside of the calendar."""

    action: str
    outcome: str
    detail: str
    letter_id: str
    order_id: str
    reason: str
    by: str
    at: datetime | None = None


class RedisAuditTrail:
    """A stream that forgets its oldest entries."""

    def __init__(self, redis: Redis, *, timeout_seconds: float) -> None:
        self._redis: Any = redis
        self._timeout_seconds = timeout_seconds

    async def add(self, entries: Sequence[AuditEntry]) -> None:
        """Adds the entries. Where the store is away they stand in the log alone, which says so."""
        try:
            async with (
                store_deadline(self._timeout_seconds),
                self._redis.pipeline(transaction=False) as pipeline,
            ):
                for entry in entries:
                    pipeline.xadd(
                        keyspace.DEAD_LETTERS_AUDIT, _fields(entry), maxlen=MOST_KEPT, approximate=True
                    )
                await pipeline.execute()
        except StoreUnavailable as error:
            log.warning("audit trail not written", count=len(entries), reason=str(error))

    async def latest(self, limit: int) -> Sequence[AuditEntry]:
        """The last entries, newest first; none where something else lies there. Raises StoreUnavailable."""
        found: Any = []
        async with store_deadline(self._timeout_seconds):
            with broken_is_absent():
                found = await self._redis.xrevrange(keyspace.DEAD_LETTERS_AUDIT, count=limit)
        return [_entry(entry_id, fields) for entry_id, fields in found]


_LAST_MILLISECOND: Final = epoch_microseconds(datetime.max.replace(tzinfo=UTC)) // 1_000
"""Of the calendar: an entry that was written by hand may have any id."""
_NAMES: Final = tuple(field.name for field in fields(AuditEntry) if field.name != "at")


def _fields(entry: AuditEntry) -> Mapping[str, str]:
    return {name: getattr(entry, name)[:LONGEST_TEXT] for name in _NAMES}


def _entry(entry_id: str, fields: Mapping[str, str]) -> AuditEntry:
    milliseconds = int(entry_id.partition("-")[0])
    at = event_time(milliseconds * 1_000) if milliseconds <= _LAST_MILLISECOND else None
    return AuditEntry(at=at, **{name: fields.get(name, "") for name in _NAMES})
