"""Effects that happen exactly once, in Redis and in SQL: kept together with the ids of their events."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.errors import DatabaseUnavailable, PermanentError, RefusedWrite, StoreUnavailable
from shared.messages import Event, OrderCreated
from shared.messaging.certification import Certified, certify
from shared.messaging.consumer import Inbox, consumer
from shared.redis.client import Redis
from shared.redis.inbox import RedisInbox, RedisTransaction
from shared.sql.database import Database, open_database
from shared.sql.inbox import SqlInbox
from tests.harness.examples import an_order, created
from tests.harness.stores import as_service

REVISION = """
from alembic import op
from sqlalchemy import MetaData
from shared.sql.inbox import inbox_table
revision, down_revision = "1", None
def upgrade() -> None:
    inbox_table(MetaData()).create(op.get_bind())
    op.execute("CREATE TABLE points (customer text PRIMARY KEY, sum integer NOT NULL)")
"""
ADD = text(
    "INSERT INTO points VALUES (:customer, :more) "
    "ON CONFLICT (customer) DO UPDATE SET sum = points.sum + excluded.sum"
)
A_DAY = 86_400.0
SERVICE = "notifier"
EVENTS = [created(an_order(f"order{number}", cable=number)) for number in (1, 2, 3)]


async def in_redis(events: Sequence[Event[OrderCreated]], transaction: RedisTransaction) -> None:
    """A point for each piece."""
    await asyncio.sleep(0)
    for event in events:
        transaction.write("HINCRBY", "points", "ann", event.data.order.items[0].qty)


async def in_sql(events: Sequence[Event[OrderCreated]], transaction: AsyncConnection) -> None:
    """A point for each piece."""
    for event in events:
        await transaction.execute(ADD, {"customer": "ann", "more": event.data.order.items[0].qty})


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """An inbox, how a handler gives points within it, and how many there are."""

    inbox: Inbox
    give: Callable[..., Awaitable[None]]
    count: Callable[[], Awaitable[int]]


@pytest.fixture
def in_store(redis: Redis) -> Points:
    """Where the service may write itself."""
    own = as_service(redis, SERVICE)

    async def count() -> int:
        return int(await own.hget(f"{SERVICE}:points", "ann") or 0)

    inbox = RedisInbox(own, SERVICE, retention_seconds=A_DAY, timeout_seconds=5.0)
    return Points(inbox=inbox, give=in_redis, count=count)


@asynccontextmanager
async def points_database(url: str, folder: Path) -> AsyncIterator[Database]:
    """One with the tables of this suite."""
    revisions = folder / "points" / "migrations"
    revisions.mkdir(parents=True, exist_ok=True)
    (revisions / "first.py").write_text(REVISION)
    async with open_database(url, revisions, timeout_seconds=10.0) as database:
        await database.look()
        assert database.unready_reason() is None
        yield database


def points_in(database: Database, *, now: Callable[[], float] = lambda: 0.0) -> Points:
    """In its tables."""

    async def count() -> int:
        async def read(connection: AsyncConnection) -> int:
            return int(await connection.scalar(text("SELECT coalesce(max(sum), 0) FROM points")) or 0)

        return await database.transaction(read)

    return Points(inbox=SqlInbox(database, retention_seconds=A_DAY, clock=now), give=in_sql, count=count)


@pytest.fixture
async def in_database(database_url: str, tmp_path: Path) -> AsyncIterator[Points]:
    """On SQLite, then on PostgreSQL."""
    async with points_database(database_url, tmp_path) as database:
        yield points_in(database)


async def what_comes_again_changes_nothing(points: Points) -> None:
    """Alone, in company of what is new, and twice in one batch."""
    first, second, third = EVENTS
    await points.inbox.once([first], points.give)
    await points.inbox.once([first, second, second], points.give)
    await points.inbox.once([second, third, first], points.give)
    assert await points.count() == 6


async def what_fails_has_no_effect_and_may_come_again(points: Points) -> None:
    """What the handler wrote before it failed is not kept."""

    async def gives_and_fails(events: Sequence[Event[OrderCreated]], transaction: Any) -> None:
        await points.give(events, transaction)
        raise ValueError("no such customer")

    with pytest.raises(ValueError, match="no such customer"):
        await points.inbox.once(EVENTS, gives_and_fails)
    assert await points.count() == 0
    await points.inbox.once(EVENTS, points.give)
    assert await points.count() == 6


async def replicas_that_have_the_same_events_at_once_do_them_once(points: Points) -> None:
    """Each in another order, with more than the others have."""
    more = [created(an_order(f"more{number}", cable=1)) for number in range(4)]
    batches = [[*EVENTS, more[0]], [more[1], *reversed(EVENTS)], [EVENTS[1], more[2]], [more[3], EVENTS[0]]]
    await asyncio.gather(*(points.inbox.once(batch, points.give) for batch in batches))
    assert await points.count() == 6 + 4


CLAIMS = pytest.mark.parametrize(
    "claim",
    [
        what_comes_again_changes_nothing,
        what_fails_has_no_effect_and_may_come_again,
        replicas_that_have_the_same_events_at_once_do_them_once,
    ],
    ids=lambda claim: claim.__name__,
)
Claim = Callable[[Points], Awaitable[None]]


@CLAIMS
async def test_in_redis(in_store: Points, claim: Claim) -> None:
    """In the process, and a real one by the service's own login."""
    await claim(in_store)


@CLAIMS
async def test_in_sql(in_database: Points, claim: Claim) -> None:
    """On SQLite and PostgreSQL."""
    await claim(in_database)


async def test_a_consumer_with_a_transaction_is_certified_in_redis(redis: Redis) -> None:
    """Dying at each await included, with no look of its own at what it has done."""

    @consumer(SERVICE, events=[OrderCreated])
    async def gives(event: Event[OrderCreated], transaction: RedisTransaction) -> None:
        await in_redis([event], transaction)

    @asynccontextmanager
    async def world() -> AsyncIterator[Certified]:
        await redis.flushall()
        inbox = RedisInbox(redis, SERVICE, retention_seconds=A_DAY, timeout_seconds=5.0)

        async def effects() -> int:
            return int(await redis.hget(f"{SERVICE}:points", "ann") or 0)

        yield Certified(handle=gives.handler(inbox), effects=effects)

    await certify(world, EVENTS)


# --- Redis, which does not roll back ----------------------------------------------------------------------


async def test_a_first_write_that_is_refused_leaves_nothing(redis: Redis) -> None:
    """The event is not dealt with."""
    inbox = RedisInbox(redis, SERVICE, retention_seconds=A_DAY, timeout_seconds=5.0)
    await redis.set(f"{SERVICE}:points", "no hash")
    with pytest.raises(RefusedWrite, match="WRONGTYPE"):
        await inbox.once(EVENTS, in_redis)
    await redis.delete(f"{SERVICE}:points")
    await inbox.once(EVENTS, in_redis)
    assert await redis.hget(f"{SERVICE}:points", "ann") == "6"


@pytest.mark.parametrize("arguments", [[None], [True], ["x"] * 8_000], ids=["None", "bool", "8,000"])
async def test_arguments_that_cannot_be_sent_are_the_events_fault(
    redis: Redis, arguments: Sequence[Any]
) -> None:
    """No outage, which would be waited out and hold up every other event."""

    async def effects(_: Sequence[Event[OrderCreated]], transaction: RedisTransaction) -> None:
        transaction.write("RPUSH", "list", *arguments)

    inbox = RedisInbox(redis, SERVICE, retention_seconds=A_DAY, timeout_seconds=5.0)
    with pytest.raises(RefusedWrite, match="of RPUSH"):
        await inbox.once(EVENTS[:1], effects)


async def test_a_later_write_that_is_refused_is_told_and_none_is_made_again(redis: Redis) -> None:
    """A person decides what becomes of the rest."""
    inbox = RedisInbox(redis, SERVICE, retention_seconds=A_DAY, timeout_seconds=5.0)
    await redis.set(f"{SERVICE}:last", "no hash")

    async def two(_: Sequence[Event[OrderCreated]], transaction: RedisTransaction) -> None:
        transaction.write("HINCRBY", "points", "ann", 1)
        transaction.write("HSET", "last", "ann", "order1")

    with pytest.raises(PermanentError, match="1 of 2 writes were made, the next was refused: WRONGTYPE"):
        await inbox.once(EVENTS[:1], two)
    await inbox.once(EVENTS[:1], two)
    assert await redis.hget(f"{SERVICE}:points", "ann") == "1"


@pytest.mark.broker
async def test_what_a_service_has_no_right_to_is_refused(redis_server: Any, redis: Redis) -> None:
    """Before anything is written: a missing right is mended, and then it goes on."""
    if not hasattr(redis, "logins"):
        pytest.skip("the store in the process knows no rights")
    inbox = RedisInbox(as_service(redis, SERVICE), SERVICE, retention_seconds=A_DAY, timeout_seconds=5.0)

    async def flushes(_: Sequence[Event[OrderCreated]], transaction: RedisTransaction) -> None:
        transaction.write("HINCRBY", "points", "ann", 1)
        transaction.write("SORT", "points", "STORE", "order:order1")

    with pytest.raises(StoreUnavailable, match="NOPERM"):
        await inbox.once(EVENTS[:1], flushes)
    assert await redis.exists(f"{SERVICE}:points") == 0

    async def no_such_command(_: Sequence[Event[OrderCreated]], transaction: RedisTransaction) -> None:
        transaction.write("HINCRBYY", "points", "ann", 1)

    with pytest.raises(RefusedWrite, match="no such command: HINCRBYY"):
        await inbox.once(EVENTS[:1], no_such_command)


async def test_notes_are_kept_for_as_long_as_orders_are(redis: Redis) -> None:
    """And go by themselves."""
    inbox = RedisInbox(redis, SERVICE, retention_seconds=A_DAY, timeout_seconds=5.0)
    await inbox.once(EVENTS[:1], in_redis)
    assert A_DAY - 60 < await redis.ttl(f"{SERVICE}:inbox:{EVENTS[0].id}") <= A_DAY


# --- SQL ----------------------------------------------------------------------------------------------------


WRONG = (
    "SELECT nothing FROM nowhere WHERE name = 'ann@example.com'",
    "SELECT nothing FROM points WHERE customer = 'ann@example.com'",
    "INSERT INTO points VALUES ('ann@example.com', NULL)",
    "SELEC 'ann@example.com'",
    "SELECT 'ann@example.com' = :not_given",
)


async def test_a_statement_that_is_wrong_is_the_events_fault(in_database: Points) -> None:
    """Table, column, constraint, syntax, parameter: waited for, it would hold up its neighbours for ever."""
    for statement in WRONG:

        async def wrong(
            _: Sequence[Event[OrderCreated]], transaction: AsyncConnection, statement: str = statement
        ) -> None:
            await transaction.execute(text(statement))

        with pytest.raises(RefusedWrite, match="the database refused it") as refused:
            await in_database.inbox.once(EVENTS[:1], wrong)
        assert "ann@" not in str(refused.value)


async def test_a_database_that_takes_no_writes_is_an_outage(in_database: Points) -> None:
    """Of no event's making: it is waited out."""
    on_sqlite = in_database.inbox._database.is_sqlite  # type: ignore[attr-defined]  # the suite's own
    read_only = "PRAGMA query_only = ON" if on_sqlite else "SET TRANSACTION READ ONLY"

    async def writes(events: Sequence[Event[OrderCreated]], transaction: AsyncConnection) -> None:
        await transaction.execute(text(read_only))
        await in_sql(events, transaction)

    with pytest.raises(DatabaseUnavailable, match=r"readonly|read-only"):
        await in_database.inbox.once(EVENTS[:1], writes)


@pytest.mark.parametrize("more", ["many", None, 2**40, "a\x00b"], ids=["text", "None", "large", "NUL"])
async def test_a_value_that_does_not_fit_is_the_events_fault(in_database: Points, more: Any) -> None:
    """Whether the driver refuses it or the database, and in words that do not quote it."""
    if in_database.inbox._database.is_sqlite and more is not None:  # type: ignore[attr-defined]  # the suite's own
        pytest.skip("SQLite takes a value of another type")

    async def effects(_: Sequence[Event[OrderCreated]], transaction: AsyncConnection) -> None:
        await transaction.execute(ADD, {"customer": "ann", "more": more})

    with pytest.raises(RefusedWrite, match=r"^the database refused it: \w+$"):
        await in_database.inbox.once(EVENTS[:1], effects)


async def test_what_was_dealt_with_long_ago_is_forgotten(database_url: str, tmp_path: Path) -> None:
    """So that the table does not grow for ever."""
    now = 0.0
    async with points_database(database_url, tmp_path) as database:
        points = points_in(database, now=lambda: now)
        inbox: Any = points.inbox
        await inbox.once(EVENTS[:1], points.give)
        now = A_DAY / 2
        await inbox.once(EVENTS[1:2], points.give)
        now = A_DAY + 1
        await inbox.sweep()
        for event in EVENTS[:2]:
            await inbox.once([event], points.give)
        assert await points.count() == 1 + 2 + 1
