"""Effects in SQL that happen exactly once: they are committed together with the ids of their events."""

import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Column, Float, Index, MetaData, Table, Text, delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.errors import RefusedWrite
from shared.messages import Event
from shared.sql.database import Database

Effects = Callable[[Sequence[Event[Any]], AsyncConnection], Awaitable[None]]


def inbox_table(metadata: MetaData) -> Table:
    """The table, for a service's schema and for its first revision."""
    return Table(
        "inbox",
        metadata,
        Column("event_id", Text, primary_key=True),
        Column("dealt_with_at", Float(53), nullable=False),
        Index("inbox_by_time", "dealt_with_at"),
    )


INBOX: Final = inbox_table(MetaData())
_REFUSALS: Final = (DataError, IntegrityError, ProgrammingError)
_REFUSED: Final = ("22", "23", "42")
"""Classes of SQLSTATE: a value does not fit, a constraint is violated, a statement is wrong. SQLAlchemy has
no type of its own for what asyncpg says of values."""
_REFUSED_BY_SQLITE: Final = frozenset(
    {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH}
)
"""The same as its result codes, of which these are the low byte. SQLAlchemy calls a wrong statement an
OperationalError, as it does a file that is locked, full or gone."""
_INSERTS: Final[Mapping[str, Any]] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


class SqlInbox:
    """The events that one service has dealt with, kept for ``retention_seconds``."""

    def __init__(self, database: Database, *, retention_seconds: float, clock: Callable[[], float]) -> None:
        self._database = database
        self._retention_seconds = retention_seconds
        self._clock = clock

    async def once(self, events: Sequence[Event[Any]], effects: Effects) -> None:
        """Runs ``effects`` with those events that are new, in the transaction that notes them.

        A replica that has one of them at the same time waits for the other's end. Raises DatabaseUnavailable,
        after which the outcome is unknown and asking again is safe, and what ``effects`` raises: then nothing
        was written. A statement that is wrong, or a value that does not fit, is RefusedWrite, no outage.
        """

        by_id = {event.id: event for event in events}
        now = self._clock()

        async def work(connection: AsyncConnection) -> None:
            rows = [{"event_id": event_id, "dealt_with_at": now} for event_id in sorted(by_id)]
            insert = _INSERTS[connection.dialect.name](INBOX).on_conflict_do_nothing()
            noted = set(await connection.scalars(insert.values(rows).returning(INBOX.c.event_id)))
            if new := [event for event_id, event in by_id.items() if event_id in noted]:
                await _run(effects, new, connection)

        await self._database.transaction(work)

    async def sweep(self) -> None:
        """Forgets events that were dealt with longer ago. Raises DatabaseUnavailable."""
        before = self._clock() - self._retention_seconds

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(delete(INBOX).where(INBOX.c.dealt_with_at < before))

        await self._database.transaction(work)


async def _run(effects: Effects, events: Sequence[Event[Any]], connection: AsyncConnection) -> None:
    """Without the driver's words, which quote what was to be written."""
    try:
        await effects(events, connection)
    except StatementError as error:
        if not _is_refusal(error):
            raise
        raise RefusedWrite(f"the database refused it: {type(error.orig or error).__name__}") from error


def _is_refusal(error: StatementError) -> bool:
    """Whether it would come again with the same statement; one that no driver was given would in any case."""
    state = str(getattr(error.orig, "sqlstate", None) or "")
    code = getattr(error.orig, "sqlite_errorcode", None) or 0
    return (
        not isinstance(error, DBAPIError)
        or isinstance(error, _REFUSALS)
        or state[:2] in _REFUSED
        or code & 0xFF in _REFUSED_BY_SQLITE
    )
