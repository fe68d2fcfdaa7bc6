"""Deliveries in SQL, from the event to their turn. Every method raises DatabaseUnavailable."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, exists, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.orders.position import move_position, read_position
from shared.orders.redis.log import LogPosition
from shared.sql.database import Database
from shared.webhooks.schemas import DeliveryStatus
from webhooks.endpoints import Clock
from webhooks.model import GIVE_UP_SECONDS, OPERATORS, SECOND, ClaimedDelivery, DueEndpoint, Told
from webhooks.schema import DELIVERIES, ENDPOINTS, IS_PENDING

MOST_ENDPOINTS: Final = 10_000
"""That are asked about at a time."""
BATCH_SECONDS: Final = 15.0
"""What promising a page of events may take, to as many endpoints as there are."""
EARLIER_SECONDS: Final = 3_600
"""How long before an endpoint was made a step may have happened of which it is told: the clocks of Redis and
of the database may differ."""


class DeliveryStore:
    """What is to be delivered. ``lease_seconds`` is how long a claim keeps others away."""

    def __init__(self, database: Database, clock: Clock, *, lease_seconds: float) -> None:
        self._database = database
        self._clock = clock
        self._lease = int(lease_seconds * SECOND)

    async def position(self) -> LogPosition:
        """How far the log of steps was read."""
        return await self._database.transaction(read_position)

    async def has_endpoints(self) -> bool:
        """Whether there is any; what happens while one is disabled is kept for it."""

        async def read(connection: AsyncConnection) -> bool:
            return bool(await connection.scalar(select(exists().select_from(ENDPOINTS))))

        return await self._database.transaction(read)

    async def record(
        self, told: Sequence[Told], since: LogPosition | None = None, until: LogPosition | None = None
    ) -> int | None:
        """Promises these events to each endpoint that wants them, in their order, each once; how many were
        new. Numbers are given and rows are written in one transaction, so that no endpoint's have a gap.

        With it moves the position in the log, ``since`` which they were read ``until`` another. None, and
        nothing is written, where another reader has gone on from there.
        """
        events = {each.event_id: each for each in told}.values()
        owners = {OPERATORS, *(each.owner for each in events if each.owner is not None)}
        now = self._clock()

        async def write(connection: AsyncConnection) -> int | None:
            if since and until and not await move_position(connection, since, until):
                return None
            if not events:
                return 0
            wanted = select(ENDPOINTS).where(ENDPOINTS.c.owner.in_(owners)).order_by(ENDPOINTS.c.id)
            rows: list[dict[str, Any]] = []
            for endpoint in (await connection.execute(wanted.with_for_update())).all():
                new = await _new_to(connection, endpoint, [each for each in events if _wants(endpoint, each)])
                numbered = enumerate(new, endpoint.sequence + 1)
                rows += [_delivery(endpoint, number, each, now) for number, each in numbered]
                if new:
                    counted = update(ENDPOINTS).where(ENDPOINTS.c.id == endpoint.id)
                    await connection.execute(counted.values(sequence=endpoint.sequence + len(new)))
            if rows:
                await connection.execute(insert(DELIVERIES), rows)
            return len(rows)

        return await self._database.transaction(write, timeout_seconds=BATCH_SECONDS)

    async def endpoints_due(self) -> Mapping[str, DueEndpoint]:
        """Endpoints for which it is time to attempt something, by id."""
        now = self._clock()
        something = exists().where(DELIVERIES.c.endpoint_id == ENDPOINTS.c.id, _is_due(now))
        query = select(ENDPOINTS.c.id, ENDPOINTS.c.owner, ENDPOINTS.c.failing_since).where(
            ENDPOINTS.c.disabled_reason.is_(None), ENDPOINTS.c.held_until <= now, something
        )

        async def read(connection: AsyncConnection) -> Mapping[str, DueEndpoint]:
            rows = await connection.execute(query.limit(MOST_ENDPOINTS))
            return {
                row.id: DueEndpoint(owner=row.owner, is_failing=row.failing_since is not None) for row in rows
            }

        return await self._database.transaction(read)

    async def claim(self, shares: Mapping[str, int]) -> Sequence[ClaimedDelivery]:
        """Up to so many due deliveries of each endpoint, the lowest numbers first. No other sender gets them
        until they are settled or the lease ends; then they may be attempted again.
        """
        now = self._clock()

        async def write(connection: AsyncConnection) -> Sequence[ClaimedDelivery]:
            return [
                each
                for endpoint_id, share in sorted(shares.items())
                for each in await self._claim(connection, endpoint_id, share, now)
            ]

        return await self._database.transaction(write)

    async def _claim(
        self, connection: AsyncConnection, endpoint_id: str, share: int, now: int
    ) -> Sequence[ClaimedDelivery]:
        own = DELIVERIES.c.endpoint_id == endpoint_id
        due = select(DELIVERIES.c.sequence, DELIVERIES.c.body).where(own, _is_due(now))
        due = due.order_by(DELIVERIES.c.due_at, DELIVERIES.c.sequence).limit(share)
        found = (await connection.execute(due.with_for_update(skip_locked=True))).all()
        endpoint = (
            await connection.execute(select(ENDPOINTS).where(ENDPOINTS.c.id == endpoint_id))
        ).one_or_none()
        if endpoint is None:
            return ()
        leased = update(DELIVERIES).where(own, DELIVERIES.c.sequence.in_([row.sequence for row in found]))
        await connection.execute(leased.values(leased_until=now + self._lease))
        secrets = [endpoint.secret]
        if endpoint.previous_secret is not None and endpoint.previous_until > now:
            secrets.append(endpoint.previous_secret)
        return [
            ClaimedDelivery(
                endpoint_id=endpoint_id,
                sequence=row.sequence,
                url=endpoint.url,
                body=row.body,
                secrets=secrets,
            )
            for row in found
        ]


def _is_due(now: int) -> ColumnElement[bool]:
    return and_(
        IS_PENDING,
        DELIVERIES.c.due_at <= now,
        DELIVERIES.c.leased_until <= now,
    )


def _wants(endpoint: Any, told: Told) -> bool:
    is_old = told.at < endpoint.created_at - EARLIER_SECONDS * SECOND
    is_its_own = endpoint.owner in (OPERATORS, told.owner)
    return is_its_own and not is_old and told.event_type in endpoint.events.split(" ")


async def _new_to(connection: AsyncConnection, endpoint: Any, told: Sequence[Told]) -> Sequence[Told]:
    """Those of these events that the endpoint was not promised before."""
    if not told:
        return ()
    known = select(DELIVERIES.c.event_id).where(
        DELIVERIES.c.endpoint_id == endpoint.id, DELIVERIES.c.event_id.in_([each.event_id for each in told])
    )
    before = set((await connection.execute(known)).scalars())
    return [each for each in told if each.event_id not in before]


def _delivery(endpoint: Any, sequence: int, told: Told, now: int) -> dict[str, Any]:
    """Its row. What happens while an endpoint is disabled has failed from the start, and can be recovered."""
    status = DeliveryStatus.PENDING if endpoint.disabled_reason is None else DeliveryStatus.FAILED
    return {
        "endpoint_id": endpoint.id,
        "sequence": sequence,
        "event_id": told.event_id,
        "event_type": told.event_type,
        "order_id": told.order_id,
        "body": told.body,
        "created_at": now,
        "status": status,
        "attempts": 0,
        "tries": 0,
        "due_at": now,
        "leased_until": 0,
        "expires_at": now + GIVE_UP_SECONDS * SECOND,
    }
