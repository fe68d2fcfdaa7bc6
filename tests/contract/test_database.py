"""A database: transactions, deadlines, outages in words, and a schema that each service brings up to date."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.errors import DatabaseUnavailable
from shared.sql.database import Database, open_database
from shared.sql.migrations import migrations_of
from tests.harness.databases import PostgresServer
from tests.harness.stores import free_port

FIRST = """
from alembic import op
revision, down_revision = "1", None
def upgrade() -> None:
    op.execute("CREATE TABLE things (id integer PRIMARY KEY)")
"""
SECOND = """
from alembic import op
revision, down_revision = "2", "1"
def upgrade() -> None:
    op.execute("INSERT INTO things VALUES (1)")
"""


@pytest.fixture
def revisions(tmp_path: Path) -> Path:
    """A folder with one revision."""
    folder = tmp_path / "100% new" / "migrations"
    folder.mkdir(parents=True)
    (folder / "first.py").write_text(FIRST)
    return folder


def opened(url: str, revisions: Path, timeout_seconds: float = 10.0) -> AbstractAsyncContextManager[Database]:
    """The database, with a deadline that a busy machine does not miss."""
    return open_database(url, revisions, timeout_seconds=timeout_seconds)


@pytest.fixture
async def database(database_url: str, revisions: Path) -> AsyncIterator[Database]:
    """One with its first revision."""
    async with opened(database_url, revisions) as made:
        await made.look()
        assert made.unready_reason() is None
        yield made


async def add(connection: AsyncConnection, number: int) -> None:
    """A row more."""
    await connection.execute(text("INSERT INTO things VALUES (:id)"), {"id": number})


async def count(connection: AsyncConnection) -> int:
    """How many rows there are."""
    return int((await connection.execute(text("SELECT count(*) FROM things"))).scalar_one())


async def test_work_is_kept_whole_or_not_at_all(database: Database) -> None:
    """What failed half way has written nothing."""

    async def two_of_the_same(connection: AsyncConnection) -> None:
        await add(connection, 7)
        await add(connection, 7)

    with pytest.raises(IntegrityError):
        await database.transaction(two_of_the_same)
    assert await database.transaction(count) == 0
    await database.transaction(lambda connection: add(connection, 7))
    assert await database.transaction(count) == 1


async def test_what_a_database_refuses_is_an_outage_in_its_words(database: Database) -> None:
    """Neither the statement nor its values are told."""

    async def asks_for_what_is_not_there(connection: AsyncConnection) -> None:
        await connection.execute(text("SELECT :secret FROM nothing"), {"secret": "s3cret"})

    with pytest.raises(DatabaseUnavailable, match="nothing") as refused:
        await database.transaction(asks_for_what_is_not_there)
    assert "s3cret" not in str(refused.value)


async def test_an_error_does_not_tell_what_was_to_be_written(database: Database) -> None:
    """It ends in logs, and what is written names people."""

    async def write(connection: AsyncConnection) -> None:
        await connection.execute(text("INSERT INTO nothing VALUES (:name)"), {"name": "ann@example.com"})

    with pytest.raises(DatabaseUnavailable) as failed:
        await database.transaction(write)
    assert "ann@" not in f"{failed.value} {failed.value.__cause__}"


async def test_replicas_that_start_together_migrate_once(database_url: str, revisions: Path) -> None:
    """The second finds what the first has done."""
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(opened(database_url, revisions)) for _ in range(4)]
        await asyncio.gather(*(replica.look() for replica in replicas))
        assert [replica.unready_reason() for replica in replicas] == [None] * 4


async def test_services_of_one_process_migrate_side_by_side(tmp_path: Path) -> None:
    """As in embedded mode, each its own database; the library at work knows but one at a time."""
    async with AsyncExitStack() as stack:
        services = [
            await stack.enter_async_context(opened(f"sqlite:///{tmp_path}/{name}.db", migrations_of(name)))
            for name in ("accounts", "catalogue")
        ]
        await asyncio.gather(*(service.look() for service in services))
        assert [service.unready_reason() for service in services] == [None] * 2


async def test_an_older_service_works_beside_a_newer_schema(database_url: str, revisions: Path) -> None:
    """It leaves the schema alone."""
    (revisions / "second.py").write_text(SECOND)
    async with opened(database_url, revisions) as newer:
        await newer.look()
    (revisions / "second.py").unlink()
    async with opened(database_url, revisions) as older:
        await older.look()
        assert older.unready_reason() is None
        assert await older.transaction(count) == 1


async def test_a_frozen_server_is_answered_for_in_time(postgres: PostgresServer, revisions: Path) -> None:
    """The caller gets its outage at the deadline, and work goes on once the server runs again."""
    async with opened(postgres.new_database("frozen"), revisions, timeout_seconds=1.0) as made:
        await made.look()
        with postgres.frozen():
            began = asyncio.get_running_loop().time()
            with pytest.raises(DatabaseUnavailable, match="within 1 s"):
                await made.transaction(count)
            assert asyncio.get_running_loop().time() - began < 1.9
            await made.look()
            assert made.unready_reason() == "the database did not answer within 1 s"
        async with asyncio.timeout(30):
            while made.unready_reason() is not None:
                await made.look()
        assert await made.transaction(count) == 0


async def test_a_server_that_takes_no_writes_is_not_ready(postgres: PostgresServer, revisions: Path) -> None:
    """As a standby does not: it answers every question."""
    url = postgres.new_database("standby")
    async with opened(url, revisions) as made:
        await made.look()
        postgres.ask("postgres", "ALTER DATABASE standby SET default_transaction_read_only = on")
        postgres.ask(
            "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'standby'"
        )
        await made.look()
        assert made.unready_reason() == "database: cannot execute CREATE TABLE in a read-only transaction"


async def test_a_server_that_is_away_is_named_in_words(revisions: Path) -> None:
    """And found once it is there."""
    async with opened(f"postgresql://nobody@127.0.0.1:{free_port()}/none", revisions) as made:
        await made.look()
        assert "refused" in str(made.unready_reason()) or "Connect call failed" in str(made.unready_reason())
