"""From steps of orders to promised deliveries, which are written with the position in the log.

The event of a step is made of its order's record, with the id that it has at the brokers: what is read again
is promised once. Without any endpoint no record is read, and the position follows the end of the log.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from shared.messages import Event, encode, epoch_microseconds, event_time
from shared.orders.following import FollowerFigures, LogFollower
from shared.orders.moves import STEP_EVENTS, event_of_step
from shared.orders.records import OrderRecord
from shared.orders.redis.log import LogEntry, LogPosition
from shared.redis.client import Redis
from shared.versions import first_version
from shared.webhooks.schemas import EVENT_NAMES
from webhooks.endpoints import Clock
from webhooks.model import SECOND, Told, owner_of

NAME: Final = "webhooks"
TOLD_STEPS: Final = frozenset(
    step for step, name in STEP_EVENTS.items() if first_version(name) in EVENT_NAMES
)
"""The steps of orders of which receivers are told."""
ENTRIES_AT_ONCE: Final = 200
"""Of so many customers, each with twenty webhooks: one transaction has the time to promise them all."""
IDLE_SECONDS: Final = 2.0
"""Between two looks at the end of the log while there is no endpoint."""
FIRST_REACH_SECONDS: Final = 6 * 86_400
"""How far back is read where no position was ever known, as after the version that consumed a queue. What it
promised is known for longer, so that nothing of it is promised twice."""


class PromisedDeliveries(Protocol):
    """Where deliveries are written. Methods raise DatabaseUnavailable."""

    async def position(self) -> LogPosition:
        """How far the log was read."""

    async def has_endpoints(self) -> bool:
        """Whether there is any."""

    async def record(
        self, told: Sequence[Told], since: LogPosition | None = None, until: LogPosition | None = None
    ) -> int | None:
        """Each once for each endpoint, and the position; how many were new, None where another went on."""


class DecliningCustomers(Protocol):
    """What customers want."""

    async def declining(self, customers: Iterable[str | None]) -> Collection[str]:
        """Those of them who want no webhooks. Raises StoreUnavailable."""


class WebhookFollower(LogFollower):
    """Promises what happens to those that want to be told."""

    def __init__(
        self,
        promises: PromisedDeliveries,
        customers: DecliningCustomers,
        redis: Redis,
        clock: Clock,
        figures: FollowerFigures,
        promised: Callable[[], None],
        *,
        timeout_seconds: float,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """``promised`` is called where there is something to deliver; ``elapsed`` counts seconds."""
        super().__init__(
            NAME, redis, figures, timeout_seconds=timeout_seconds, entries_at_once=ENTRIES_AT_ONCE
        )
        self._promises = promises
        self._customers = customers
        self._clock = clock
        self._promised = promised
        self._elapsed = elapsed
        self._rests_until = 0.0

    async def follow(self) -> None:
        """Promises what there is, unless it rests. Raises DependencyUnavailable."""
        if self._elapsed() >= self._rests_until:
            await super().follow()

    async def follow_once(self) -> bool:
        """Promises one page; whether there is more. Raises DependencyUnavailable."""
        end = await self._log.end()  # before the look for endpoints: one made since is told from here on
        if await self._promises.has_endpoints():
            return await super().follow_once()
        position = await self._promises.position()
        if position == end or await self._promises.record((), position, end) is not None:
            await self._confirm(end)
            self._rests_until = self._elapsed() + IDLE_SECONDS
        return False

    async def _stored_position(self) -> LogPosition:
        return await self._promises.position()

    async def _write(self, entries: Sequence[LogEntry], since: LogPosition, until: LogPosition) -> bool:
        steps = [(entry.order_id, entry.type, entry.at) for entry in entries if entry.type in TOLD_STEPS]
        order_ids = list(dict.fromkeys(order_id for order_id, *_ in steps))
        records = {record.order.id: record for record in await self._records(order_ids)}
        if len(records) < len(order_ids):
            self._count_unrecorded(len(order_ids) - len(records))
        return await self._promise(await self._told(records, steps), since, until)

    async def _write_records(
        self, records: Sequence[OrderRecord], read_until: int, since: LogPosition, until: LogPosition
    ) -> bool:
        first = read_until or self._clock() - FIRST_REACH_SECONDS * SECOND
        steps = [
            (record.order.id, line.step, epoch_microseconds(line.at))
            for record in records
            for line in record.timeline
            if line.step in TOLD_STEPS and epoch_microseconds(line.at) >= first
        ]
        told = await self._told({record.order.id: record for record in records}, steps)
        oldest_first = sorted(told, key=lambda each: each.at)
        for start in range(0, max(len(oldest_first), 1), ENTRIES_AT_ONCE):
            page = oldest_first[start : start + ENTRIES_AT_ONCE]
            if not await self._still_reads() or not await self._promise(page, since, until):
                return False
        return True

    async def _told(
        self, records: Mapping[str, OrderRecord], steps: Sequence[tuple[str, str, int]]
    ) -> Sequence[Told]:
        """The events of these steps: order, type, and when. Of what no record knows there is none."""
        declining = await self._customers.declining(record.customer for record in records.values())
        made = (
            (records[order_id], event_of_step(records[order_id], step, event_time(at)), at)
            for order_id, step, at in steps
            if order_id in records
        )
        return [
            _shown(event, at, None if record.customer in declining else owner_of(record.customer))
            for record, event, at in made
            if event is not None
        ]

    async def _promise(self, told: Sequence[Told], since: LogPosition, until: LogPosition) -> bool:
        new = await self._promises.record(told, since, until)
        if new:
            self._promised()
        return new is not None


def _shown(event: Event[Any], at: int, owner: str | None) -> Told:
    """Without the customer's address, which is no receiver's business."""
    order = replace(event.data.order, email=None)
    shown = replace(event, data=replace(event.data, order=order))
    return Told(
        event_id=event.id,
        event_type=first_version(event.type),
        order_id=event.subject,
        owner=owner,
        at=at,
        body=encode(shown).decode(),
    )
