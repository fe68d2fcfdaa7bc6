"""Orders and their steps in SQL. What a batch of steps says and how far the log was read are one transaction.

An order is written whole, from its record, or has steps added. Rows are written many at a time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import delete, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.bulk import Known, among, by_key, insert_rows, update_rows
from ledger.recount import RECOUNT_SECONDS, miscounted, recount
from ledger.rows import Row, decision_row, line_rows, order_row, step_row, step_rows
from ledger.schema import EVENTS, LINES, ORDERS
from ledger.sums import summing
from shared.history.earlier import earlier_id
from shared.orders.following import REBUILD
from shared.orders.position import forget_position, move_position, read_position
from shared.orders.records import OrderRecord
from shared.orders.redis.log import LogEntry, LogPosition
from shared.sql.database import Database

BATCH_SECONDS: Final = 15.0
_PARTS: Final = ((EVENTS, EVENTS.c.order_id), (LINES, LINES.c.order_id))


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

        return await self._database.transaction(read_position)

    async def write(self, batch: Batch, *, since: LogPosition, until: LogPosition) -> bool:
        """Writes what was read from ``since`` to ``until``; steps that are there already stay as they are.

        False, and nothing is written, where another has gone on from ``since``.
        """

        async def transaction(connection: AsyncConnection) -> bool:
            await by_key(connection)
            if not await move_position(connection, since, until):
                return False
            known = await _known(connection, [record.order.id for record in batch.records])
            earlier = _earlier(known, batch.records)
            before = {step.order_id for step in batch.decisions}.union(known)
            before |= {new for each in earlier for new in (each.kept_as, each.returns_as)}
            after = before | {record.order.id for record in batch.records}
            async with summing(connection, sorted(before), sorted(after)):
                await _set_aside(connection, earlier)
                await _replace(connection, batch.records, known)
                await insert_rows(connection, EVENTS, [step_row(step) for step in batch.steps], Known.KEPT)
                await update_rows(connection, ORDERS, [decision_row(step) for step in batch.decisions])
            return True

        return await self._database.transaction(transaction, timeout_seconds=BATCH_SECONDS)

    async def forget_position(self) -> None:
        """Has the follower read everything anew; the sums of statistics are made anew at once."""

        async def write(connection: AsyncConnection) -> None:
            await forget_position(connection, REBUILD)
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


@dataclass(frozen=True, slots=True)
class _Earlier:
    """An order whose id another one has taken. ``returns_as`` is where the other would stand, had it been the
    earlier one in the life of a store that was set back since."""

    order_id: str
    kept_as: str
    returns_as: str


async def _known(connection: AsyncConnection, order_ids: Sequence[str]) -> Mapping[str, int]:
    """When those of these orders were accepted that are here."""
    if not order_ids:
        return {}
    these = select(ORDERS.c.id, ORDERS.c.accepted_at).where(among(connection, ORDERS.c.id, order_ids))
    return {row.id: row.accepted_at for row in await connection.execute(these)}


def _earlier(known: Mapping[str, int], records: Sequence[OrderRecord]) -> Sequence[_Earlier]:
    """Those that have the ids of these records: accepted at another time, an order is another one."""
    return [
        _Earlier(order_id, earlier_id(order_id, known[order_id]), earlier_id(order_id, accepted_at))
        for order_id, accepted_at in ((each.order.id, each.accepted_at_microseconds) for each in records)
        if known.get(order_id, accepted_at) != accepted_at
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


async def _replace(
    connection: AsyncConnection, records: Sequence[OrderRecord], known: Mapping[str, int]
) -> None:
    """The rows of an order are its record's: steps that the store has forgotten go."""
    if not records:
        return
    order_ids = [record.order.id for record in records]
    await connection.execute(delete(EVENTS).where(among(connection, EVENTS.c.order_id, order_ids)))
    if known:
        await connection.execute(delete(LINES).where(among(connection, LINES.c.order_id, list(known))))
    await insert_rows(connection, ORDERS, [order_row(record) for record in records], Known.REPLACED)
    await insert_rows(connection, LINES, [row for record in records for row in line_rows(record)])
    await insert_rows(connection, EVENTS, [row for record in records for row in step_rows(record)])
