"""The log of deliveries as owners read it, and what they ask for by it, in SQL.

Every method raises DatabaseUnavailable. Whose an endpoint is, its caller knows.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, delete, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.sql.database import Database
from shared.webhooks.schemas import DeliveryStatus
from webhooks.endpoints import Clock
from webhooks.model import GIVE_UP_SECONDS, SECOND, DeliveryAttempt
from webhooks.schema import ATTEMPTS, DELIVERIES, ENDPOINTS, IS_PENDING

LONG_SECONDS: Final = 15.0
MOST_AT_ONCE: Final = 5_000
"""Deliveries that are written or removed in one transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedDelivery:
    """A delivery and its latest attempts, oldest first. Times are microseconds since the epoch."""

    endpoint_id: str
    sequence: int
    event_id: str
    event_type: str
    order_id: str
    status: DeliveryStatus
    created_at: int
    due_at: int
    attempts: int
    latest: Sequence[DeliveryAttempt]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Pending deliveries: how many, and since when the first is due to a receiver that does not fail."""

    pending: int
    due_since: int | None


class DeliveryLog:
    """Deliveries after they were promised."""

    def __init__(self, database: Database, clock: Clock, *, retention_seconds: float) -> None:
        self._database = database
        self._clock = clock
        self._retention = int(retention_seconds * SECOND)

    async def page(
        self, endpoint_id: str, status: str | None, before: int | None, limit: int
    ) -> Sequence[LoggedDelivery]:
        """Up to ``limit`` deliveries whose number is less than ``before``, newest first."""
        wanted = [DELIVERIES.c.endpoint_id == endpoint_id]
        wanted += [] if status is None else [DELIVERIES.c.status == status]
        wanted += [] if before is None else [DELIVERIES.c.sequence < before]

        async def read(connection: AsyncConnection) -> Sequence[LoggedDelivery]:
            return await _logged(connection, and_(*wanted), limit)

        return await self._database.transaction(read)

    async def resend(self, endpoint_id: str, sequence: int) -> LoggedDelivery | None:
        """Makes one due now, whatever became of it; None where there is none."""
        this = and_(DELIVERIES.c.endpoint_id == endpoint_id, DELIVERIES.c.sequence == sequence)

        async def write(connection: AsyncConnection) -> LoggedDelivery | None:
            await connection.execute(update(DELIVERIES).where(this).values(**self._afresh()))
            return next(iter(await _logged(connection, this, 1)), None)

        return await self._database.transaction(write)

    async def recover(self, endpoint_id: str, since: int) -> int:
        """Makes those due now that were promised since then and failed, the first thousands; how many."""
        these = _some(
            DELIVERIES.c.endpoint_id == endpoint_id,
            DELIVERIES.c.status == DeliveryStatus.FAILED,
            DELIVERIES.c.created_at >= since,
        )

        async def write(connection: AsyncConnection) -> int:
            result = await connection.execute(update(DELIVERIES).where(these).values(**self._afresh()))
            return int(result.rowcount)

        return await self._database.transaction(write, timeout_seconds=LONG_SECONDS)

    async def fail_disabled(self) -> int:
        """Fails some of what waits for endpoints that are disabled; how many."""
        disabled = select(ENDPOINTS.c.id).where(ENDPOINTS.c.disabled_reason.is_not(None))
        waiting = _some(IS_PENDING, DELIVERIES.c.endpoint_id.in_(disabled))
        failed = update(DELIVERIES).where(waiting).values(status=DeliveryStatus.FAILED)

        async def write(connection: AsyncConnection) -> int:
            return int((await connection.execute(failed)).rowcount)

        return await self._database.transaction(write, timeout_seconds=LONG_SECONDS)

    async def sweep(self) -> int:
        """Forgets some of what is settled and older than the retention; how many."""
        old = _some(DELIVERIES.c.created_at < self._clock() - self._retention, ~IS_PENDING)

        async def write(connection: AsyncConnection) -> int:
            return int((await connection.execute(delete(DELIVERIES).where(old))).rowcount)

        return await self._database.transaction(write, timeout_seconds=LONG_SECONDS)

    async def gaps(self) -> Sequence[str]:
        """Endpoints that lack a delivery among those that are young enough for all of them to be there."""
        young = (
            select(DELIVERIES.c.endpoint_id, func.min(DELIVERIES.c.sequence).label("first"))
            .where(DELIVERIES.c.created_at >= self._clock() - self._retention // 2)
            .group_by(DELIVERIES.c.endpoint_id)
        ).subquery()
        query = (
            select(ENDPOINTS.c.id)
            .join_from(ENDPOINTS, young, young.c.endpoint_id == ENDPOINTS.c.id)
            .join(DELIVERIES, DELIVERIES.c.endpoint_id == ENDPOINTS.c.id)
            .where(DELIVERIES.c.sequence >= young.c.first)
            .group_by(ENDPOINTS.c.id, ENDPOINTS.c.sequence, young.c.first)
            .having(func.count() != ENDPOINTS.c.sequence - young.c.first + 1)
        )

        async def read(connection: AsyncConnection) -> Sequence[str]:
            return list((await connection.execute(query)).scalars())

        return await self._database.transaction(read, timeout_seconds=LONG_SECONDS)

    async def waiting(self) -> Waiting:
        """What waits now."""
        now = self._clock()
        free = select(ENDPOINTS.c.id).where(
            ENDPOINTS.c.held_until <= now, ENDPOINTS.c.failing_since.is_(None)
        )
        count = select(func.count()).select_from(DELIVERIES).where(IS_PENDING)
        first = select(func.min(DELIVERIES.c.due_at)).where(
            IS_PENDING, DELIVERIES.c.due_at <= now, DELIVERIES.c.endpoint_id.in_(free)
        )

        async def read(connection: AsyncConnection) -> Waiting:
            return Waiting(
                pending=(await connection.execute(count)).scalar_one(),
                due_since=(await connection.execute(first)).scalar_one(),
            )

        return await self._database.transaction(read, timeout_seconds=LONG_SECONDS)

    def _afresh(self) -> dict[str, Any]:
        now = self._clock()
        return {
            "status": DeliveryStatus.PENDING,
            "tries": 0,
            "due_at": now,
            "expires_at": now + GIVE_UP_SECONDS * SECOND,
        }


def _some(*wanted: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether a delivery is among the first of those that are wanted, so many as fit into a transaction."""
    place = DELIVERIES.c.endpoint_id, DELIVERIES.c.sequence
    return tuple_(*place).in_(select(*place).where(*wanted).order_by(*place).limit(MOST_AT_ONCE))


async def _logged(
    connection: AsyncConnection, wanted: ColumnElement[bool], limit: int
) -> Sequence[LoggedDelivery]:
    query = select(DELIVERIES).where(wanted).order_by(DELIVERIES.c.sequence.desc()).limit(limit)
    rows = (await connection.execute(query)).all()
    attempts: defaultdict[int, list[DeliveryAttempt]] = defaultdict(list)
    if rows:
        of_these = select(ATTEMPTS).where(
            ATTEMPTS.c.endpoint_id == rows[0].endpoint_id,
            ATTEMPTS.c.sequence.in_([row.sequence for row in rows]),
        )
        for each in await connection.execute(of_these.order_by(ATTEMPTS.c.sequence, ATTEMPTS.c.n)):
            attempts[each.sequence].append(
                DeliveryAttempt(
                    at=each.at, milliseconds=each.milliseconds, status=each.status, error=each.error
                )
            )
    return [
        LoggedDelivery(
            endpoint_id=row.endpoint_id,
            sequence=row.sequence,
            event_id=row.event_id,
            event_type=row.event_type,
            order_id=row.order_id,
            status=DeliveryStatus(row.status),
            created_at=row.created_at,
            due_at=row.due_at,
            attempts=row.attempts,
            latest=attempts[row.sequence],
        )
        for row in rows
    ]
