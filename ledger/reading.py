"""Reading the ledger: orders with their lines and steps, and what customers were told."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.schema import EVENTS, LINES, ORDERS
from ledger.sums import statistics
from shared.history.ownership import VisibleOrders
from shared.history.schemas import OrderStatistics, ToldView
from shared.keyspace import NotificationStatus
from shared.messages import Order, OrderItem, Trace, epoch_microseconds, event_time
from shared.orders.model import OrderStatus, Trouble
from shared.orders.ports import Cursor, OrderFilter
from shared.orders.records import OrderRecord, TimelineStep
from shared.prices import LinePrice, Prices
from shared.sql.database import Database

NOTIFIED: Final = "notified"
TOLD: Final = {
    NOTIFIED: NotificationStatus.SENT,
    "notification_failed": NotificationStatus.FAILED,
    "notification_declined": NotificationStatus.DECLINED,
}
MOST_LOOKED_AT: Final = 1_000
"""Notifications, for one page of those that are picked from among others."""

NoteCursor = tuple[int, str, int]
"""Just after what was told then, of this order, in its step of this number."""


class LedgerReader:
    """Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def orders(self, wanted: OrderFilter, limit: int, after: Cursor | None) -> Sequence[OrderRecord]:
        """Up to ``limit`` of the orders that are wanted after the cursor, newest first, without steps."""
        place = tuple_(ORDERS.c.accepted_at, ORDERS.c.id)
        query = select(ORDERS).where(*_conditions(wanted))
        if after is not None:
            query = query.where(place < (after.accepted_at, after.order_id))
        query = query.order_by(ORDERS.c.accepted_at.desc(), ORDERS.c.id.desc()).limit(limit)

        async def read(connection: AsyncConnection) -> Sequence[OrderRecord]:
            return await _records(connection, query)

        return await self._database.transaction(read)

    async def order(self, order_id: str) -> OrderRecord | None:
        """One order with its steps, None where there is none."""
        steps = select(EVENTS).where(EVENTS.c.order_id == order_id).order_by(EVENTS.c.n)

        async def read(connection: AsyncConnection) -> OrderRecord | None:
            timeline = [_step(row) for row in await connection.execute(steps)]
            found = await _records(connection, select(ORDERS).where(ORDERS.c.id == order_id), timeline)
            return found[0] if found else None

        return await self._database.transaction(read)

    async def told(
        self, whose: VisibleOrders, order_id: str | None, limit: int, after: NoteCursor | None
    ) -> tuple[Sequence[tuple[NoteCursor, ToldView]], NoteCursor | None]:
        """Up to ``limit`` times that customers were told, newest first, with where each stands; and where
        to go on, None at the end. Fewer where they lie far apart.
        """
        at, of, n = EVENTS.c.at, EVENTS.c.order_id, EVENTS.c.n
        steps = select(EVENTS).where(EVENTS.c.type.in_(TOLD))
        if order_id is not None:
            steps = steps.where(of == order_id)
        if after is not None:
            steps = steps.where(tuple_(at, of, n) < after)
        if whose.customer is not None:
            steps = steps.where(of.in_(select(ORDERS.c.id).where(ORDERS.c.customer == whose.customer)))
        looked_at = MOST_LOOKED_AT if whose.unowned else limit + 1
        candidates = steps.order_by(at.desc(), of.desc(), n.desc()).limit(looked_at).subquery()
        query = select(candidates, ORDERS.c.id.label("known"), ORDERS.c.customer).outerjoin_from(
            candidates, ORDERS, candidates.c.order_id == ORDERS.c.id
        )
        query = query.order_by(candidates.c.at.desc(), candidates.c.order_id.desc(), candidates.c.n.desc())

        async def read(connection: AsyncConnection) -> Sequence[Any]:
            return (await connection.execute(query)).all()

        rows = await self._database.transaction(read)
        shown = [row for row in rows if not whose.unowned or (row.known and row.customer is None)]
        found = [((row.at, row.order_id, row.n), _told(row)) for row in shown[:limit]]
        if len(shown) > limit:
            return found, found[-1][0]
        last = rows[-1] if len(rows) == looked_at else None
        return found, (last.at, last.order_id, last.n) if last else None

    async def steps(
        self, types: Collection[str], after: NoteCursor, until: int, limit: int
    ) -> Sequence[tuple[NoteCursor, str]]:
        """Up to ``limit`` steps of these types after the cursor and before ``until``, the oldest first: where
        each stands, and its type. No index is kept for it: the table is read once for each call.
        """
        at, of, n = EVENTS.c.at, EVENTS.c.order_id, EVENTS.c.n
        query = select(at, of, n, EVENTS.c.type).where(EVENTS.c.type.in_(types), at < until)
        query = query.where(at >= after[0], tuple_(at, of, n) > after).order_by(at, of, n).limit(limit)

        async def read(connection: AsyncConnection) -> Sequence[Any]:
            return (await connection.execute(query)).all()

        return [((row.at, row.order_id, row.n), row.type) for row in await self._database.transaction(read)]

    async def statistics(self, days: int) -> OrderStatistics:
        """What all orders come to, and the latest ``days`` days."""

        async def read(connection: AsyncConnection) -> OrderStatistics:
            return await statistics(connection, days)

        return await self._database.transaction(read)


def last_told(record: OrderRecord) -> Mapping[str, str]:
    """The notification that its steps tell of last, as the store would have it; none where there is none."""
    step = next((step for step in reversed(record.timeline) if step.step in TOLD), None)
    if step is None:
        return {}
    _, channel, unconfirmed = _parts(step.reason or "")
    fields = {"status": TOLD[step.step].value, "channel": channel}
    if step.step == NOTIFIED:
        fields["sent_at"] = str(epoch_microseconds(step.at))
    return fields | ({"unconfirmed": "1"} if unconfirmed else {})


def _conditions(wanted: OrderFilter) -> Sequence[ColumnElement[bool]]:
    columns = ORDERS.c
    conditions = [
        column == value
        for column, value in (
            (columns.status, wanted.status),
            (columns.trouble, wanted.trouble),
            (columns.customer, wanted.customer),
        )
        if value is not None
    ]
    conditions += [columns.customer.is_(None)] if wanted.unowned else []
    conditions += [] if wanted.since is None else [columns.accepted_at >= wanted.since]
    return conditions + ([] if wanted.until is None else [columns.accepted_at < wanted.until])


async def _records(
    connection: AsyncConnection, query: Select[Any], timeline: Sequence[TimelineStep] = ()
) -> Sequence[OrderRecord]:
    rows = (await connection.execute(query)).all()
    lines: defaultdict[str, list[Any]] = defaultdict(list)
    of_these = select(LINES).where(LINES.c.order_id.in_([row.id for row in rows])).order_by(LINES.c.line)
    for line in await connection.execute(of_these) if rows else ():
        lines[line.order_id].append(line)
    return [_record(row, lines[row.id], timeline) for row in rows]


def _record(row: Any, lines: Sequence[Any], timeline: Sequence[TimelineStep]) -> OrderRecord:
    priced = tuple(
        None if line.unit_amount is None else LinePrice(unit_amount=line.unit_amount, name=line.name or "")
        for line in lines
    )
    prices = Prices(currency=row.currency, lines=priced, amount_total=row.amount_total)
    return OrderRecord(
        order=Order(id=row.id, items=tuple(OrderItem(sku=line.sku, qty=line.qty) for line in lines)),
        status=OrderStatus(row.status),
        trouble=Trouble(row.trouble) if row.trouble else None,
        accepted_at=event_time(row.accepted_at),
        decided_at=None if row.decided_at is None else event_time(row.decided_at),
        reason=row.reason,
        sku_at_fault=None,
        sequence=None,
        next_attempt_at=None,
        trace=Trace(correlation_id=""),
        timeline=timeline,
        customer=row.customer,
        prices=prices if row.currency else None,
    )


def _step(row: Any) -> TimelineStep:
    at, reason, by = event_time(row.at), row.reason or None, row.by or None
    return TimelineStep(step=row.type, at=at, reason=reason, attempts=None, by=by)


def _parts(reason: str) -> tuple[str, str, bool]:
    """What the notifier writes as the reason of its steps: event, channel, and whether no answer came."""
    event, channel, unconfirmed = (*reason.split(" "), "", "")[:3]
    return event, channel, bool(unconfirmed)


def _told(row: Any) -> ToldView:
    event, channel, unconfirmed = _parts(row.reason)
    return ToldView(
        order_id=row.order_id,
        event=event,
        status=TOLD[row.type],
        unconfirmed=unconfirmed,
        at=event_time(row.at),
        channel=channel or None,
        customer=row.customer,
    )
