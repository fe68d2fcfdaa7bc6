"""Sends history to one consumer's own queue, each event with the id that it had and marked as a replay."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ledger.reading import LedgerReader
from orderctl.errors import OrderctlError
from orderctl.replay.history import HistoryPage, HistoryPlace, HistoryStep
from shared.messages import Event, EventData, event_time, is_identifier
from shared.messaging.ports import Publisher
from shared.messaging.settlement import message_of
from shared.messaging.waiting import waiting_out
from shared.orders.moves import STEP_EVENTS, event_of_step
from shared.orders.records import OrderRecord
from shared.orders.redis.reading import fetch_records
from shared.pipeline import ORDER_PROCESSOR, Consumption
from shared.redis.client import Redis, store_deadline

AT_ONCE: Final = 100
"""Events whose confirms are awaited together, a second's at most: one that is broken off repeats so many."""
PATIENCE_SECONDS: Final = 30.0
"""How long brokers may confirm nothing, as while a queue has no leader."""

RecordsById = Mapping[str, OrderRecord]


class BrokersAwayError(OrderctlError):
    """Raised when brokers confirm nothing for too long."""


@dataclass(slots=True)
class ReplayReport:
    """What was sent, by type of event; ``from_ledger`` of them without what the ledger does not keep.

    ``lost`` could not be told again; ``place`` is after which to go on.
    """

    sent: Counter[str] = field(default_factory=Counter)
    from_ledger: int = 0
    lost: int = 0
    place: HistoryPlace | None = None


class OrderRecords:
    """Orders as the store has them, or else the ledger. Raises StoreUnavailable and DatabaseUnavailable."""

    def __init__(self, redis: Redis, ledger: LedgerReader | None, *, timeout_seconds: float) -> None:
        self._redis = redis
        self._ledger = ledger
        self._timeout_seconds = timeout_seconds

    async def of(self, order_ids: Sequence[str]) -> tuple[RecordsById, RecordsById]:
        """Those that have a record, and of the others those that the ledger has."""
        async with store_deadline(self._timeout_seconds):
            found = await fetch_records(self._redis, order_ids)
        kept = {record.order.id: record for record in found if record is not None}
        if self._ledger is None:
            return kept, {}
        gone = await asyncio.gather(*(self._ledger.order(each) for each in order_ids if each not in kept))
        return kept, {record.order.id: record for record in gone if record is not None}


class SendingPace:
    """Lets so many pass in a second; what was not used before is not made up for."""

    def __init__(
        self,
        per_second: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.per_second = per_second
        self._clock = clock
        self._sleep = sleep
        self._next = 0.0

    async def turn(self) -> None:
        """Returns when the next may go."""
        now = self._clock()
        at = max(now, self._next)
        self._next = at + 1 / self.per_second
        if at > now:
            await self._sleep(at - now)


class Replay:
    """Sends to ``consumption`` alone; without a ``publisher`` it only counts."""

    def __init__(
        self, consumption: Consumption, records: OrderRecords, publisher: Publisher | None, pace: SendingPace
    ) -> None:
        self._consumption = consumption
        self._records = records
        self._publisher = publisher
        self._pace = pace
        self._at_once = max(1, min(AT_ONCE, round(pace.per_second)))

    async def run(
        self, pages: AsyncIterator[HistoryPage], report: ReplayReport, advanced: Callable[[], None]
    ) -> None:
        """Sends all of it; ``report`` is kept as it goes, since this may end at any time."""
        async for page in pages:
            for start in range(0, len(page.steps), self._at_once):
                steps = page.steps[start : start + self._at_once]
                await self._send(await self._events(steps, report), report)
                report.place = steps[-1].place
                advanced()
            report.place = page.end or report.place

    async def _events(self, steps: Sequence[HistoryStep], report: ReplayReport) -> list[Event[EventData]]:
        kept, gone = await self._records.of(list(dict.fromkeys(step.order_id for step in steps)))
        events: list[Event[EventData]] = []
        for step in steps:
            record = kept.get(step.order_id) or self._retold(gone, step)
            event = None if record is None else event_of_step(record, step.type, event_time(step.at))
            if event is None:
                report.lost += 1
            else:
                events.append(replace(event, is_replay=True))
                report.from_ledger += step.order_id not in kept
        return events

    def _retold(self, gone: RecordsById, step: HistoryStep) -> OrderRecord | None:
        """An order whose record is gone was decided: a processor that is asked again would decide anew.

        One whose id was given again has no id of its own any more.
        """
        is_told = self._consumption is not ORDER_PROCESSOR and is_identifier(step.order_id)
        return gone.get(step.order_id) if is_told else None

    async def _send(self, events: Sequence[Event[EventData]], report: ReplayReport) -> None:
        if (publisher := self._publisher) is not None:
            published = (self._publish(publisher, event) for event in events)
            ended = await asyncio.gather(*published, return_exceptions=True)
            for error in filter(None, ended):  # once all of them have ended: nothing is sent after it
                raise error
        report.sent.update(event.type for event in events)

    async def _publish(self, publisher: Publisher, event: Event[EventData]) -> None:
        message = replace(message_of(event), exchange="", routing_key=self._consumption.queue)
        await self._pace.turn()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await waiting_out(lambda: publisher.publish(message))
        except TimeoutError as error:
            raise BrokersAwayError("the brokers confirm nothing", advice="orderctl status") from error


def steps_for(consumption: Consumption) -> frozenset[str]:
    """The steps of orders of which events reach this consumer."""
    return frozenset(step for step, event in STEP_EVENTS.items() if consumption.takes(event))
