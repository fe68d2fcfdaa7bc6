"""Orders and their steps in SQL. What a batch of steps says and how far the log was read are one transaction.

An order is written whole, from its record, or has steps added. Rows are written many at a time.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Table, bindparam, delete, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.recount import RECOUNT_SECONDS, miscounted, recount
from ledger.schema import EVENTS, LINES, ORDERS, POSITION
from ledger.sums import INSERTS, among, summing
from shared.history.earlier import earlier_id
from shared.messages import epoch_microseconds
from shared.orders.model import OUTCOMES, OrderStatus
from shared.orders.records import OrderRecord
from shared.orders.redis.log import LogEntry, LogPosition
from shared.services import SERVICES
from shared.sql.database import Database

BATCH_SECONDS: Final = 15.0
REBUILD: Final = "rebuild"
"""In the place of a position: the operator wants everything read anew."""
_MOVED: Final = frozenset(OrderStatus) - {OrderStatus.SCHEDULED, OrderStatus.ACCEPTED, *OUTCOMES}
"""Steps that people take, too, and say why."""
_ADDRESS: Final = re.compile(r"[^\s<>@]+@[^\s<>@]+")
_HERE: Final = POSITION.c.id == 1
_PARTS: Final = ((EVENTS, EVENTS.c.order_id), (LINES, LINES.c.order_id))
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Orders to be written whole, steps to be added to others, and which of these are decisions."""

    records: Sequence[OrderRecord] = ()
    steps: Sequence[LogEntry] = ()
    decisions: Sequence[LogEntry] = ()


class LedgerStore:
    """The ledger's database. Methods raise DatabaseUnavailable; after that a write's outcome is unknown."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def position(self) -> LogPosition:
        """How far the log was read."""

        async def read(connection: AsyncConnection) -> LogPosition:
            query = select(POSITION.c.log_id, POSITION.c.entries).where(_HERE)
            row = (await connection.execute(query)).one()
            return LogPosition(log_id=row.log_id, entries=row.entries)

        return await self._database.transaction(read)

    async def write(self, batch: Batch, *, since: LogPosition, until: LogPosition) -> bool:
        """Writes what was read from ``since`` to ``until``; steps that are there already stay as they are.

        False, and nothing is written, where another has gone on from ``since``.
        """

        async def transaction(connection: AsyncConnection) -> bool:
            moved = update(POSITION).where(_HERE, POSITION.c.log_id == since.log_id)
            result = await connection.execute(moved.values(log_id=until.log_id, entries=until.entries))
            if result.rowcount != 1:
                return False
            written = {record.order.id for record in batch.records}
            written |= {step.order_id for step in batch.decisions}
            earlier = await _earlier(connection, batch.records)
            moved_ids = {new for each in earlier for new in (each.kept_as, each.returns_as)}
            async with summing(connection, sorted(written | moved_ids)):
                await _set_aside(connection, earlier)
                await _replace(connection, batch.records)
                await _add(connection, EVENTS, [_step_row(step) for step in batch.steps], skip_known=True)
                if batch.decisions:
                    await connection.execute(_DECIDED, [_decision_row(step) for step in batch.decisions])
            return True

        return await self._database.transaction(transaction, timeout_seconds=BATCH_SECONDS)

    async def forget_position(self) -> None:
        """Has the follower read everything anew; the sums of statistics are made anew at once."""

        async def write(connection: AsyncConnection) -> None:
            await connection.execute(update(POSITION).where(_HERE).values(log_id=REBUILD, entries=0))
            await recount(connection)  # whoever writes orders waits for the row above

        await self._database.transaction(write, timeout_seconds=RECOUNT_SECONDS)

    async def miscounted(self) -> Sequence[str]:
        """What is wrong with the sums of statistics, in words."""
        return await self._database.transaction(miscounted, timeout_seconds=RECOUNT_SECONDS)

    async def counts(self) -> tuple[int, int]:
        """How many orders and steps there are."""

        async def count(connection: AsyncConnection) -> tuple[int, int]:
            orders = await connection.execute(select(func.count()).select_from(ORDERS))
            steps = await connection.execute(select(func.count()).select_from(EVENTS))
            return int(orders.scalar_one()), int(steps.scalar_one())

        return await self._database.transaction(count, timeout_seconds=BATCH_SECONDS)

    async def written(self, order_ids: Sequence[str]) -> tuple[Sequence[Row], Sequence[Row], Sequence[Row]]:
        """The rows of these orders: their own, their lines in their order, and their steps in theirs."""

        async def read(connection: AsyncConnection) -> tuple[Sequence[Row], Sequence[Row], Sequence[Row]]:
            async def rows(query: Any) -> Sequence[Row]:
                return [dict(row._mapping) for row in await connection.execute(query)]

            lines = select(LINES).where(LINES.c.order_id.in_(order_ids)).order_by(LINES.c.line)
            steps = select(EVENTS).where(EVENTS.c.order_id.in_(order_ids)).order_by(EVENTS.c.n)
            return (
                await rows(select(ORDERS).where(ORDERS.c.id.in_(order_ids))),
                await rows(lines),
                await rows(steps),
            )

        return await self._database.transaction(read, timeout_seconds=BATCH_SECONDS)


def order_row(record: OrderRecord) -> Row:
    """The row of an order, as its record has it."""
    prices = record.prices
    return {
        "id": record.order.id,
        "customer": record.customer,
        "status": record.status.value,
        "trouble": record.trouble.value if record.trouble else None,
        "accepted_at": record.accepted_at_microseconds,
        "decided_at": epoch_microseconds(record.decided_at) if record.decided_at else None,
        "reason": nameless(record.reason) if record.reason else None,
        "currency": prices.currency if prices else None,
        "amount_total": prices.amount_total if prices else None,
    }


def line_rows(record: OrderRecord) -> list[Row]:
    """The rows of its lines."""
    prices = record.prices.lines if record.prices else [None] * len(record.order.items)
    return [
        {
            "order_id": record.order.id,
            "line": line,
            "sku": item.sku,
            "qty": item.qty,
            "unit_amount": price.unit_amount if price else None,
            "name": writable(price.name) if price else None,
        }
        for line, (item, price) in enumerate(zip(record.order.items, prices, strict=True), start=1)
    ]


def step_rows(record: OrderRecord) -> list[Row]:
    """The rows of its steps: a line of the timeline each."""
    return [
        {
            "order_id": record.order.id,
            "n": n,
            "type": step.step,
            "at": epoch_microseconds(step.at),
            "reason": _reason(step.step, step.by, step.reason),
            "by": step.by or "",
        }
        for n, step in enumerate(record.timeline, start=1)
    ]


def writable(text: str) -> str:
    """Without what PostgreSQL takes in no text; the texts of errors may hold anything."""
    return text.replace("\0", "")


def nameless(text: str) -> str:
    """The same without addresses: what stands here stays for years, also after its customer is erased."""
    return _ADDRESS.sub("…@…", writable(text))


def _reason(step: str, by: str | None, reason: str | None) -> str:
    """What is kept of a reason: none that a person gave in words of its own."""
    return "" if step in _MOVED and by not in SERVICES else nameless(reason or "")


def _step_row(step: LogEntry) -> Row:
    return {
        "order_id": step.order_id,
        "n": step.n,
        "type": step.type,
        "at": step.at,
        "reason": _reason(step.type, step.by, step.reason),
        "by": step.by,
    }


_DECIDED: Final = (
    update(ORDERS)
    .where(ORDERS.c.id == bindparam("order"))
    .values(status=bindparam("outcome"), trouble=None, decided_at=bindparam("at"), reason=bindparam("why"))
)


def _decision_row(step: LogEntry) -> Row:
    return {"order": step.order_id, "outcome": step.type, "at": step.at, "why": nameless(step.reason) or None}


@dataclass(frozen=True, slots=True)
class _Earlier:
    """An order whose id another one has taken. ``returns_as`` is where the other would stand, had it been the
    earlier one in the life of a store that was set back since."""

    order_id: str
    kept_as: str
    returns_as: str


async def _earlier(connection: AsyncConnection, records: Sequence[OrderRecord]) -> Sequence[_Earlier]:
    """Those that have the ids of these records: accepted at another time, an order is another one."""
    accepted = {record.order.id: record.accepted_at_microseconds for record in records}
    if not accepted:
        return ()
    these = among(connection, ORDERS.c.id, list(accepted))
    rows = await connection.execute(select(ORDERS.c.id, ORDERS.c.accepted_at).where(these))
    return [
        _Earlier(row.id, earlier_id(row.id, row.accepted_at), earlier_id(row.id, accepted[row.id]))
        for row in rows
        if row.accepted_at != accepted[row.id]
    ]


async def _set_aside(connection: AsyncConnection, earlier: Sequence[_Earlier]) -> None:
    for each in earlier:
        for table, key in (*_PARTS, (ORDERS, ORDERS.c.id)):
            await connection.execute(delete(table).where(key.in_((each.kept_as, each.returns_as))))
        columns = [literal(each.kept_as), *(column for column in ORDERS.c if not column.primary_key)]
        kept = select(*columns).where(ORDERS.c.id == each.order_id)
        await connection.execute(insert(ORDERS).from_select([column.name for column in ORDERS.c], kept))
        for table, key in _PARTS:
            await connection.execute(update(table).where(key == each.order_id).values(order_id=each.kept_as))


async def _replace(connection: AsyncConnection, records: Sequence[OrderRecord]) -> None:
    """The rows of an order are its record's: steps that the store has forgotten go."""
    if not records:
        return
    order_ids = [record.order.id for record in records]
    for table, key in _PARTS:
        known = select(key).where(among(connection, key, order_ids)).distinct()
        gone = [{"gone": order_id} for order_id in await connection.scalars(known)]
        if gone:
            await connection.execute(delete(table).where(key == bindparam("gone")), gone)
    upsert = INSERTS[connection.dialect.name](ORDERS)
    columns = {column.name: upsert.excluded[column.name] for column in ORDERS.c if not column.primary_key}
    upsert = upsert.on_conflict_do_update(index_elements=["id"], set_=columns)
    await connection.execute(upsert, [order_row(record) for record in records])
    await _add(connection, LINES, [row for record in records for row in line_rows(record)])
    await _add(connection, EVENTS, [row for record in records for row in step_rows(record)])


async def _add(
    connection: AsyncConnection, table: Table, rows: Sequence[Row], *, skip_known: bool = False
) -> None:
    if not rows:
        return
    statement = INSERTS[connection.dialect.name](table)
    if skip_known:
        statement = statement.on_conflict_do_nothing()
    await connection.execute(statement, rows)
