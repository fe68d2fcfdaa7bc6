"""What happened to orders, oldest first: from the ledger what the log of steps has lost, then from the log.

A step may come twice where the log is trimmed meanwhile, and none is passed over. Each page says after which
place to go on: an entry of the log, or a step of the ledger as ``microseconds:order id:number``.
"""

import re
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from ledger.reading import LedgerReader, NoteCursor
from orderctl.errors import OrderctlError, UsageError
from shared.history.earlier import ID_PATTERN, id_given
from shared.messages import epoch_microseconds
from shared.orders.records import OrderRecord
from shared.orders.redis.log import CLOCK_MILLISECONDS, START, LogPage, LogPosition, OrderLog, place_of

LOG_STEPS: Final = 2_000
LEDGER_STEPS: Final = 5_000
"""Read at once; the ledger has no index for them, so that a page costs a look at all of its steps."""
FOREVER: Final = 2**63 - 1
_LEDGER_PLACE: Final = re.compile(rf"(\d{{1,17}}):({ID_PATTERN}|):(\d{{1,9}})")

HistoryPlace = LogPosition | NoteCursor


class UnclearPlaceError(UsageError):
    """Raised when a place is named that is none in the log or the ledger."""


class LedgerNeededError(OrderctlError):
    """Raised when the log does not reach back so far, and the ledger cannot be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryStep:
    """One step of one order; ``at`` in microseconds since the epoch, ``place`` after which to go on."""

    order_id: str
    type: str
    at: int
    place: HistoryPlace | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPage:
    """Steps in the order in which they happened, and after which place to go on, where there is more."""

    steps: Sequence[HistoryStep]
    end: HistoryPlace | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedSteps:
    """Steps of these types from ``since`` on and before ``until``, in microseconds since the epoch."""

    types: Collection[str]
    since: int = 0
    until: int = FOREVER

    def has(self, step_type: str, at: int) -> bool:
        """Whether such a step is meant."""
        return step_type in self.types and self.since <= at < self.until


class OrderHistory:
    """Reads both. Raises StoreUnavailable, DatabaseUnavailable, and LedgerNeededError where there is none."""

    def __init__(self, order_log: OrderLog, ledger: LedgerReader | None) -> None:
        self._log = order_log
        self._ledger = ledger

    async def beginning(self, since: int) -> HistoryPlace:
        """Where steps begin that are not older than ``since``: in the log, if it reaches back so far."""
        position = await self._log.before(since)
        return (since, "", 0) if position.log_id == START else position

    async def pages(self, begin: HistoryPlace, span: WantedSteps) -> AsyncIterator[HistoryPage]:
        """What happened after ``begin``, up to now."""
        end, place = await self._log.end(), begin
        while True:
            if isinstance(place, LogPosition):
                found = await self._log.read(place, LOG_STEPS)
                if found is None:  # trimmed since
                    place = ((place_of(place.log_id)[0] - CLOCK_MILLISECONDS) * 1_000, "", 0)
                    continue
            else:
                found = await self._log.read(LogPosition(log_id=START), LOG_STEPS)
                assert found is not None  # noqa: S101 - what begins at the start misses nothing
                async for page in self._from_ledger(place, span, found):
                    yield page
            yield HistoryPage(steps=_in_log(found, span), end=found.end)
            place = found.end
            if not found.read or place_of(place.log_id) >= place_of(end.log_id):
                return

    async def _from_ledger(
        self, place: NoteCursor, span: WantedSteps, first: LogPage
    ) -> AsyncIterator[HistoryPage]:
        """What the log does not have any more, of which ``first`` is the first page."""
        if self._ledger is None:
            raise LedgerNeededError(
                "the log of steps does not reach back so far, and the ledger does not run"
            )
        oldest = first.entries[0].id if first.entries else None
        until = min(span.until, (place_of(oldest)[0] + 1) * 1_000) if oldest else span.until
        in_log = {(entry.at, entry.order_id, entry.n) for entry in first.entries}
        while found := await self._ledger.steps(span.types, place, until, LEDGER_STEPS):
            place = found[-1][0]
            steps = [
                HistoryStep(order_id=each[1], type=step_type, at=each[0], place=each)
                for each, step_type in found
                if (each[0], id_given(each[1]), each[2]) not in in_log and span.has(step_type, each[0])
            ]
            yield HistoryPage(steps=steps, end=place)


def steps_of(record: OrderRecord, span: WantedSteps) -> Sequence[HistoryStep]:
    """The steps of one order."""
    told = [(line.step, epoch_microseconds(line.at)) for line in record.timeline]
    return [
        HistoryStep(order_id=record.order.id, type=step, at=at) for step, at in told if span.has(step, at)
    ]


def read_place(text: str) -> HistoryPlace:
    """The inverse of :func:`written_place`. Raises UnclearPlaceError."""
    position = LogPosition(log_id=text)
    if position.is_known:
        return position
    found = _LEDGER_PLACE.fullmatch(text)
    if found is None:
        raise UnclearPlaceError(f"--from-id {text}: no place that replay has named, such as 1900000000000-0")
    return int(found[1]), found[2], int(found[3])


def written_place(place: HistoryPlace) -> str:
    """A place as operators are told it."""
    return place.log_id if isinstance(place, LogPosition) else ":".join(map(str, place))


def _in_log(page: LogPage, span: WantedSteps) -> Sequence[HistoryStep]:
    return [
        HistoryStep(
            order_id=entry.order_id,
            type=entry.type,
            at=entry.at,
            place=LogPosition(log_id=entry.id),
        )
        for entry in page.entries
        if span.has(entry.type, entry.at)
    ]
