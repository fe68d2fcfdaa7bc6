"""The database's clock: replicas whose machines disagree lease and retry by one time."""

import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.errors import DatabaseUnavailable
from shared.messaging.waiting import repeating
from shared.sql.database import Database
from webhooks.model import SECOND

LOOK_SECONDS: Final = 10.0
"""Between two looks this machine counts on; in ten seconds it cannot be wrong by much."""


def _monotonic() -> int:
    return time.monotonic_ns() // 1_000


class DatabaseClock:
    """Microseconds since the epoch, as the database has them. SQLite's is this machine's."""

    def __init__(self, database: Database, *, elapsed: Callable[[], int] = _monotonic) -> None:
        self._database = database
        self._elapsed = elapsed
        self._ahead: int | None = None

    def __call__(self) -> int:
        """Now. Raises DatabaseUnavailable until the database was asked."""
        if self._ahead is None:
            raise DatabaseUnavailable("the database's clock was not read yet")
        return self._elapsed() + self._ahead

    async def run(self) -> None:
        """Follows the database's clock, until cancelled."""
        await repeating(self.look, LOOK_SECONDS, what="the database's clock")

    async def look(self) -> None:
        """Raises DatabaseUnavailable."""

        async def ask(connection: AsyncConnection) -> int:
            before = self._elapsed()
            seconds = None
            if connection.dialect.name == "postgresql":
                seconds = await connection.scalar(select(func.extract("epoch", func.clock_timestamp())))
            now = time.time_ns() // 1_000 if seconds is None else int(seconds * SECOND)
            return now - (before + self._elapsed()) // 2

        self._ahead = await self._database.transaction(ask)
