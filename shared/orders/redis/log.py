"""Reading ``orders:log``, the steps of all orders in the order in which they happened, without missing one.

A reader says which entry it read last, and that entry must still be there: after a trim past it, after a
flush, and where an older copy of the store was restored, it is not. Then the records have to be read instead.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from redis.exceptions import ResponseError

from shared import keyspace
from shared.logs import get_logger
from shared.redis.client import Redis, store_deadline

START: Final = "0-0"
"""Stands before the first entry."""
CLOCK_MILLISECONDS: Final = 60_000
"""By how much an entry may be younger than its step: a script may have waited, a clock have been set back."""
_ID: Final = re.compile(r"\d{1,19}-\d{1,19}")
"""What Redis refuses as too large is no place, where a reader would wait for ever."""
MOST_STEPS: Final = 2**31 - 1
"""Of one order: a larger number is none, and has no place in the ledger."""
YEAR_10000: Final = 253_402_300_800_000_000
"""In microseconds since the epoch: what is no time before it would stop its readers, each time anew."""
_NO_LOG: Final = "no such key"

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """Step number ``n`` of one order, from 1; ``at`` in microseconds since the epoch."""

    id: str
    order_id: str
    n: int
    type: str
    at: int
    reason: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPosition:
    """The entry that was read last, and how many the log had been given up to it."""

    log_id: str
    entries: int = 0

    @property
    def is_known(self) -> bool:
        """Whether it is a place in the log; what else stands there says why it is not."""
        return _ID.fullmatch(self.log_id) is not None

    @property
    def last_known(self) -> str:
        """What was known last: of a mark of a reader that heals, the position that the log has lost."""
        return self.log_id.rpartition(":")[2]

    @property
    def read_until(self) -> int:
        """Steps from before that, in microseconds since the epoch, were read; 0 where that is not known."""
        return max(place_of(self.last_known)[0] - CLOCK_MILLISECONDS, 0) * 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPage:
    """Entries in their order, and where they end; ``read`` counts those too that make no sense."""

    entries: Sequence[LogEntry]
    end: LogPosition
    read: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """How far a reader is behind the end of the log: entries, and the age of the first of them."""

    entries: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is in the log: entries, and of each follower that is behind the age of the first that it has not
    read.
    """

    entries: int
    behind_seconds: Mapping[str, float]


class StepLog(Protocol):
    """What following the log needs of it. Methods raise StoreUnavailable."""

    async def end(self) -> LogPosition:
        """Where it ends now."""

    async def read(self, after: LogPosition, limit: int) -> LogPage | None:
        """The next entries. None where the one that was read last is not there any more."""


class OrderLog:
    """The log as its readers see it. Every method raises StoreUnavailable."""

    def __init__(self, redis: Redis, *, timeout_seconds: float) -> None:
        self._redis: Any = redis
        self._timeout_seconds = timeout_seconds

    async def read(self, after: LogPosition, limit: int) -> LogPage | None:
        """The next entries. None where the one that was read last is not there any more."""
        async with store_deadline(self._timeout_seconds), self._redis.pipeline(transaction=False) as pipeline:
            pipeline.xrange(keyspace.LOG, f"({after.log_id}", "+", count=limit)
            pipeline.xrange(keyspace.LOG, after.log_id, after.log_id)  # asked last: what follows it is whole
            found, witness = await pipeline.execute()
        if not witness and after.log_id != START:
            return None
        entries = [entry for log_id, fields in found if (entry := _entry(log_id, fields)) is not None]
        end = LogPosition(log_id=found[-1][0], entries=after.entries + len(found)) if found else after
        return LogPage(entries=entries, end=end, read=len(found))

    async def end(self) -> LogPosition:
        """Where the log ends now."""
        async with store_deadline(self._timeout_seconds):
            return _end(await self._info())

    async def before(self, at: int) -> LogPosition:
        """The last entry that was written before that, in microseconds since the epoch; the start of the log
        where it has none so old."""
        async with store_deadline(self._timeout_seconds):
            found = await self._redis.xrevrange(keyspace.LOG, max=str(max(at // 1_000 - 1, 0)), count=1)
        return LogPosition(log_id=found[0][0] if found else START)

    async def latest(self, limit: int) -> Sequence[LogEntry]:
        """The last steps of all, newest first."""
        async with store_deadline(self._timeout_seconds):
            found = await self._redis.xrevrange(keyspace.LOG, count=limit)
        return [entry for log_id, fields in found if (entry := _entry(log_id, fields)) is not None]

    async def confirm(self, follower: str, position: LogPosition) -> None:
        """Says how far this service has read: what is trimmed and swept is behind that."""
        async with store_deadline(self._timeout_seconds):
            await self._redis.set(keyspace.FOLLOWED[follower], position.log_id)

    async def confirmed(self) -> str | None:
        """The entry up to which all have read that ever confirmed anything; None where none has."""
        async with store_deadline(self._timeout_seconds):
            found = await self._redis.mget(*keyspace.FOLLOWED.values())
        return min((each for each in found if each is not None), key=place_of, default=None)

    async def confirmed_until(self) -> int | None:
        """Steps from before that, in microseconds, were read by all that ever did; None where none has."""
        async with store_deadline(self._timeout_seconds):
            seconds, microseconds = await self._redis.time()
            last = await self._redis.xrevrange(keyspace.LOG, count=1)
        position = await self.confirmed()
        if position is None:
            return None
        if not last or place_of(position) >= place_of(last[0][0]):
            return int(seconds) * 1_000_000 + int(microseconds)
        return (place_of(position)[0] - CLOCK_MILLISECONDS) * 1_000

    async def kept(self) -> Kept:
        """What is in the log now."""
        async with store_deadline(self._timeout_seconds):
            positions = await self._redis.mget(*keyspace.FOLLOWED.values())
            entries = await self._redis.xlen(keyspace.LOG)
        behind = {}
        for follower, position in zip(keyspace.FOLLOWED, positions, strict=True):
            known = LogPosition(log_id=position or START)
            lag = await self.lag(known if known.is_known else LogPosition(log_id=START))
            if lag.entries:
                behind[follower] = lag.seconds
        return Kept(entries=entries, behind_seconds=behind)

    async def lag(self, position: LogPosition) -> Lag:
        """How far a reader is behind."""
        async with store_deadline(self._timeout_seconds):
            seconds, microseconds = await self._redis.time()
            unread = await self._redis.xrange(keyspace.LOG, f"({position.log_id}", "+", count=1)
            end = _end(await self._info())
        if not unread:
            return Lag(entries=0, seconds=0.0)
        age = seconds + microseconds / 1_000_000 - place_of(unread[0][0])[0] / 1_000
        return Lag(entries=max(end.entries - position.entries, 1), seconds=max(age, 0.0))

    async def _info(self) -> Mapping[str, Any]:
        try:
            found: Mapping[str, Any] = await self._redis.xinfo_stream(keyspace.LOG)
        except ResponseError as error:
            if _NO_LOG not in str(error):
                raise
            return {}
        return found


def place_of(log_id: str) -> tuple[int, int]:
    """By what ids are ordered: when the entry was written, in milliseconds, and its number within one."""
    if _ID.fullmatch(log_id) is None:
        return 0, 0
    milliseconds, _, number = log_id.partition("-")
    return int(milliseconds), int(number)


def _end(info: Mapping[str, Any]) -> LogPosition:
    last = info.get("last-entry")
    return LogPosition(log_id=last[0] if last else START, entries=int(info.get("entries-added") or 0))


def _entry(log_id: str, fields: Mapping[str, str]) -> LogEntry | None:
    try:
        return LogEntry(
            id=log_id,
            order_id=fields["o"],
            n=_number(fields["n"], 1, MOST_STEPS),
            type=fields["t"],
            at=_number(fields["at"], 0, YEAR_10000 - 1),
            reason=fields.get("reason", ""),
            by=fields.get("by", ""),
        )
    except (KeyError, ValueError) as error:
        log.error("unreadable entry in the log of steps", entry=log_id, error=str(error))
        return None


def _number(text: str, least: int, most: int) -> int:
    number = int(text)
    if not least <= number <= most:
        raise ValueError(f"{text[:40]} is too small or too large")
    return number
