"""What a transaction promised to others: rows that are written with it, and removed once they were carried.

Each row has a ``kind``, which says where it goes, and a ``subject``. Rows of one subject are written by one
transaction at a time, so that their numbers tell their order. A carrier of a row may die before it is
removed: carrying it again must be harmless.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, Table, Text, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.sql.database import Database

NUMBER: Final = BigInteger().with_variant(Integer(), "sqlite")
"""The type of a key that counts by itself on both databases."""
EVENTS: Final = "event"
"""The kind of rows that hold events of the shop, as they will be sent."""


def outbox_table(metadata: MetaData) -> Table:
    """The table, for a service's schema and for its first revision."""
    return Table(
        "outbox",
        metadata,
        Column("number", NUMBER, primary_key=True, autoincrement=True),
        Column("kind", Text, nullable=False),
        Column("subject", Text, nullable=False),
        Column("body", Text, nullable=False),
        Index("outbox_by_kind", "kind", "number"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """One promise."""

    number: int
    kind: str
    subject: str
    body: str


class SqlOutbox:
    """One service's outbox. What is not given a connection raises DatabaseUnavailable."""

    def __init__(self, database: Database, table: Table) -> None:
        self._database = database
        self._rows = table

    async def add(self, connection: AsyncConnection, kind: str, subject: str, body: str) -> None:
        """Promises something, in the transaction of the write that it belongs to."""
        await connection.execute(insert(self._rows).values(kind=kind, subject=subject, body=body))

    async def oldest(self, kind: str, limit: int) -> Sequence[OutboxRow]:
        """What is to be carried, in the order in which it was promised."""
        rows = self._rows

        async def read(connection: AsyncConnection) -> Sequence[OutboxRow]:
            query = select(rows).where(rows.c.kind == kind).order_by(rows.c.number).limit(limit)
            return [OutboxRow(**row._mapping) for row in await connection.execute(query)]

        return await self._database.transaction(read)

    async def remove(self, rows: Sequence[OutboxRow]) -> None:
        """These were carried."""
        numbers = [row.number for row in rows]

        async def write(connection: AsyncConnection) -> None:
            await connection.execute(delete(self._rows).where(self._rows.c.number.in_(numbers)))

        await self._database.transaction(write)

    async def size(self) -> int:
        """How much is yet to be carried, of all kinds."""

        async def count(connection: AsyncConnection) -> int:
            return int((await connection.execute(select(func.count()).select_from(self._rows))).scalar_one())

        return await self._database.transaction(count)
