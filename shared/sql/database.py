"""The one way to a SQL database: bounded in time and connections, with its outages under one name.

PostgreSQL by asyncpg, or SQLite by aiosqlite; what is said in SQLAlchemy's Core runs on both. Work is handed
over as a coroutine function, so that a caller is answered at its deadline although a frozen server keeps the
connection for seconds more: what a connection's closing takes is waited for in the background.

Like the store's errors, those of a database are judged here alone: whatever leaves a transaction is an
outage, except that a constraint was violated, which is an answer.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from shared import tls
from shared.errors import DatabaseUnavailable
from shared.logs import get_logger
from shared.sql.migrations import NewerSchema, migrate
from shared.tracing import part
from shared.urls import VERIFIED

Result = TypeVar("Result")
Work = Callable[[AsyncConnection], Awaitable[Result]]

DRIVERS: Final = {"postgresql": "postgresql+asyncpg", "sqlite": "sqlite+aiosqlite"}
CONNECTIONS: Final = 10
POSTGRES_PORT: Final = 5432
PAUSE_SECONDS: Final = 1.0
MIGRATION_SECONDS: Final = 60.0
"""Another replica may be migrating; a table of years takes longer than a request may."""

_turns: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]] = WeakKeyDictionary()
"""Alembic keeps what it is doing in globals, so that in one process one database is migrated at a time."""

log = get_logger(__name__)


class Database:
    """One service's database. It can be used once :meth:`run` has brought its schema up to date."""

    def __init__(self, engine: AsyncEngine, migrations: Path, *, timeout_seconds: float) -> None:
        self._engine = engine
        self._migrations = migrations
        self._timeout_seconds = timeout_seconds
        self._reason: str | None = "not reached yet"
        self._is_current = False
        self._left: set[asyncio.Task[Any]] = set()

    @property
    def is_sqlite(self) -> bool:
        """Whether it is SQLite, for the few things that the two say differently."""
        return self._engine.dialect.name == "sqlite"

    def unready_reason(self) -> str | None:
        """Why it cannot be used, in its own words, or None."""
        return self._reason

    async def transaction(self, work: Work[Result], *, timeout_seconds: float | None = None) -> Result:
        """Does ``work`` in one transaction: all of it or nothing.

        Raises DatabaseUnavailable, after which the outcome is unknown, and IntegrityError where a constraint
        was violated.
        """
        with part("sql transaction", "client"):
            return await self._within(timeout_seconds or self._timeout_seconds, work)

    async def _within(self, seconds: float, work: Work[Result]) -> Result:
        task = asyncio.ensure_future(self._transaction(work))
        try:
            done, _ = await asyncio.wait({task}, timeout=seconds)
        except asyncio.CancelledError:
            self._leave(task)
            raise
        if not done:
            self._leave(task)
            raise DatabaseUnavailable(f"the database did not answer within {seconds:g} s")
        return task.result()

    async def run(self) -> None:
        """Brings the schema up to date as soon as the database can be reached, then looks after it."""
        while True:
            await self.look()
            await asyncio.sleep(PAUSE_SECONDS)

    async def look(self) -> None:
        """Proves once that the database takes writes, and knows our tables."""
        before = self._reason
        try:
            if not self._is_current:
                await self.transaction(self._migrate, timeout_seconds=MIGRATION_SECONDS)
                self._is_current = True
            await self.transaction(_prove)
            self._reason = None
        except DatabaseUnavailable as error:
            self._reason = str(error)
        if self._reason != before:
            level = log.info if self._reason is None else log.warning
            level("database", reason=self._reason or "can be used")

    async def close(self) -> None:
        """Ends what was left to itself, and every connection."""
        for task in () if self.is_sqlite else self._left:
            task.cancel()
        await asyncio.gather(*self._left, return_exceptions=True)
        await self._engine.dispose()

    async def _migrate(self, connection: AsyncConnection) -> None:
        loop = asyncio.get_running_loop()
        turn = _turns.get(loop) or _turns.setdefault(loop, asyncio.Lock())
        try:
            async with turn:
                await connection.run_sync(migrate, self._migrations)
        except NewerSchema as error:
            log.warning("the schema is newer than this service and is left as it is", revision=str(error))

    async def _transaction(self, work: Work[Result]) -> Result:
        try:
            async with self._engine.begin() as connection:
                return await work(connection)
        except IntegrityError:
            raise
        except (SQLAlchemyError, OSError) as error:
            raise _outage(error, self._engine.url) from error

    def _leave(self, task: asyncio.Task[Any]) -> None:
        """Cancels it and lets it come to its end by itself; its caller asks for its result no more.

        SQLite is soon done in any case, and its driver may hang where it is cancelled in the middle.
        """
        if not self.is_sqlite:
            task.cancel()
        self._left.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._left.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.debug("a transaction ended after its caller", error=type(error).__name__)


async def _prove(connection: AsyncConnection) -> None:
    """A standby, a full disk or a lost right answers a ``SELECT 1``: so something is made, and not kept."""
    if connection.dialect.name == "sqlite":
        await connection.execute(text("SELECT 1"))
        return
    await connection.execute(text("CREATE TEMPORARY TABLE ability (proved integer) ON COMMIT DROP"))


def _outage(error: Exception, url: URL) -> DatabaseUnavailable:
    """In the driver's own words, without the statement and what stood in it."""
    if fault := tls.fault_of(error):
        return DatabaseUnavailable(f"database {url.host}:{url.port or POSTGRES_PORT}: {fault}")
    cause = getattr(error, "orig", None) or error
    words = str(cause).strip().partition("\n")[0].removeprefix(f"{type(cause)}: ")
    if "client certificate" in words:
        words += f" ({tls.CERT})"
    elif "closed in the middle" in words and _is_secure(url):
        words += tls.hint()
    return DatabaseUnavailable(f"database: {words or type(cause).__name__}")


@asynccontextmanager
async def open_database(url: str, migrations: Path, *, timeout_seconds: float) -> AsyncIterator[Database]:
    """The database behind a URL as settings have it; closed after the block."""
    database = Database(_engine(url), migrations, timeout_seconds=timeout_seconds)
    try:
        yield database
    finally:
        await database.close()


def _engine(url: str) -> AsyncEngine:
    address = make_url(url)
    address = address.set(drivername=DRIVERS[address.drivername])
    if address.get_backend_name() == "sqlite":
        engine = create_async_engine(address, pool_size=1, max_overflow=0, hide_parameters=True)
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        return engine
    engine = create_async_engine(
        address,
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_pre_ping=True,
        hide_parameters=True,  # errors are logged, and what is written names people
        connect_args={"timeout": 5.0, "server_settings": {"timezone": "UTC"}, "ssl": False},
    )
    if _is_secure(address):
        event.listen(engine.sync_engine, "do_connect", _secure)
    return engine


def _is_secure(url: URL) -> bool:
    return url.query.get("ssl") == VERIFIED


def _secure(_dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
    """Each connection is made with the files as they are then."""
    parameters["ssl"] = tls.client_context()


def _prepare_sqlite(connection: Any, _: Any) -> None:
    """Commits are on disk; constraints hold as they do in PostgreSQL; the driver begins nothing by itself."""
    connection.isolation_level = None
    for pragma in ("busy_timeout=1000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    """Writers take turns from the start: one that read first could not write beside another."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
