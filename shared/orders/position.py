"""How far a service has read the log of steps, in its own database: one row of one table.

It moves in the transaction that writes what was read, so that both are there or neither.
"""

from typing import Final

from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.orders.redis.log import LogPosition


def position_table(metadata: MetaData) -> Table:
    """The entry of the log that was read last, and how many the log had been given by then. What is no
    entry's id says why everything is to be read from the records.
    """
    return Table(
        "position",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("log_id", Text, nullable=False),
        Column("entries", BigInteger, nullable=False),
    )


_TABLE: Final = position_table(MetaData())
_HERE: Final = _TABLE.c.id == 1


async def read_position(connection: AsyncConnection) -> LogPosition:
    """How far the log was read."""
    query = select(_TABLE.c.log_id, _TABLE.c.entries).where(_HERE)
    row = (await connection.execute(query)).one()
    return LogPosition(log_id=row.log_id, entries=row.entries)


async def move_position(connection: AsyncConnection, since: LogPosition, until: LogPosition) -> bool:
    """Moves it on, and keeps others from doing so until the transaction ends.

    False where another has gone on from ``since``: what was read from there is written already.
    """
    moved = update(_TABLE).where(_HERE, _TABLE.c.log_id == since.log_id)
    result = await connection.execute(moved.values(log_id=until.log_id, entries=until.entries))
    return result.rowcount == 1


async def forget_position(connection: AsyncConnection, why: str) -> None:
    """Has everything read anew from the records."""
    await connection.execute(update(_TABLE).where(_HERE).values(log_id=why, entries=0))
