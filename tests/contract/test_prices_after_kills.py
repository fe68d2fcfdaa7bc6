"""Prices agree with the catalogue, whenever whoever carries them dies."""

import asyncio
import json
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from catalogue.cache import RedisCache
from catalogue.model import Product, ProductExists, UnknownProduct
from catalogue.ports import Entry, Look
from catalogue.prices import RedisPriceBoard
from catalogue.projection import Projection
from catalogue.store import ProductStore
from shared import keyspace
from shared.errors import DatabaseUnavailable
from shared.messaging.ports import OutgoingMessage
from shared.service import carrying
from shared.service.carrying import Carrier, publishing
from shared.sql.database import Database, open_database
from shared.sql.migrations import migrations_of
from shared.sql.outbox import EVENTS, OutboxRow, SqlOutbox
from tests.harness.catalogue import CASE, ListeningBroker
from tests.harness.databases import PostgresServer
from tests.harness.examples import TRACE
from tests.harness.stores import store_in_process

SKUS = [f"p{number}" for number in range(6)]
UPDATES = 200
COMPARED_EVERY = 10
DATABASE_KILLED_EVERY = 80
Result = TypeVar("Result")


class Killed(Exception):
    """Raised where the process dies."""


@dataclass(slots=True)
class Fate:
    """Lets a process die before or after something of it is done."""

    random_: random.Random
    chance: float

    async def around(self, action: Callable[[], Awaitable[Result]]) -> Result:
        """Does it, unless death comes first; what it did stays when death comes after."""
        if self.random_.random() < self.chance:
            raise Killed
        result = await action()
        if self.random_.random() < self.chance:
            raise Killed
        return result


class MortalOutbox(SqlOutbox):
    """An outbox whose owner may die around each question."""

    fate: Fate
    promised: list[str]

    async def add(self, connection: AsyncConnection, kind: str, subject: str, body: str) -> None:
        await SqlOutbox.add(self, connection, kind, subject, body)
        if kind == EVENTS:
            self.promised.append(json.loads(body)["id"])

    async def oldest(self, kind: str, limit: int) -> Sequence[OutboxRow]:
        return await self.fate.around(lambda: SqlOutbox.oldest(self, kind, limit))

    async def remove(self, rows: Sequence[OutboxRow]) -> None:
        await self.fate.around(lambda: SqlOutbox.remove(self, rows))


@dataclass(slots=True)
class MortalBoard:
    """The same of prices."""

    board: RedisPriceBoard
    fate: Fate

    async def show(self, products: Sequence[Product]) -> Mapping[str, int]:
        return await self.fate.around(lambda: self.board.show(products))


@dataclass(slots=True)
class MortalCache:
    """The same of the cache."""

    cache: RedisCache
    fate: Fate

    async def look(self, entry: Entry, *, may_read: bool) -> Look:
        return await self.cache.look(entry, may_read=may_read)

    async def fill(self, entry: Entry, look: Look, body: str) -> None:
        await self.cache.fill(entry, look, body)

    async def invalidate(self, skus: Collection[str]) -> None:
        await self.fate.around(lambda: self.cache.invalidate(skus))


@dataclass(slots=True)
class MortalPublisher:
    """The same of the broker."""

    broker: ListeningBroker
    fate: Fate

    async def publish(self, message: OutgoingMessage) -> None:
        await self.fate.around(lambda: self.broker.publish(message))


@dataclass(slots=True)
class World:
    """What outlives every process."""

    database: Database
    redis: Any
    cache: RedisCache
    broker: ListeningBroker
    promised: list[str] = field(default_factory=list)
    """The ids of all events that a write has promised."""
    perhaps: list[str] = field(default_factory=list)
    """Those of writes of which nobody knows whether they were done."""

    def replica(self, fate: Fate) -> tuple[ProductStore, Sequence[Carrier], Projection]:
        """A process that has just begun."""
        store = ProductStore(self.database)
        outbox = store.outbox
        outbox.__class__ = MortalOutbox
        assert isinstance(outbox, MortalOutbox)
        outbox.fate, outbox.promised = fate, self.promised
        board = MortalBoard(RedisPriceBoard(self.redis, timeout_seconds=30.0), fate)
        projection = Projection(store, board, MortalCache(self.cache, fate))
        events = Carrier(outbox, EVENTS, publishing(MortalPublisher(self.broker, fate)))
        return store, (projection.prices, projection.invalidations, events), projection


@pytest.fixture
def server(request: pytest.FixtureRequest, database_url: str) -> PostgresServer | None:
    """Who can be killed beside the replicas."""
    if not database_url.startswith("postgresql"):
        return None
    found: PostgresServer = request.getfixturevalue("postgres")
    return found


@pytest.fixture
async def world(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """An empty one, in which a few rows are carried at a time."""
    monkeypatch.setattr(carrying, "ROWS_AT_ONCE", 3)
    folder = migrations_of("catalogue")
    async with (
        open_database(database_url, folder, timeout_seconds=30.0) as database,
        store_in_process() as redis,
        store_in_process() as cache,
    ):
        await database.look()
        answers = RedisCache(cache, timeout_seconds=30.0, product_seconds=300.0, list_seconds=60.0)
        yield World(database=database, redis=redis, cache=answers, broker=ListeningBroker())


async def update(store: ProductStore, random_: random.Random) -> None:
    """Something happens to a product."""
    sku, amount = random_.choice(SKUS), random_.randint(0, 10**9)
    try:
        match random_.randint(0, 5):
            case 0:
                await store.delete(sku, None, TRACE)
            case 1 | 2:
                await store.create(CASE | {"sku": sku, "unit_amount": amount}, TRACE)
            case _:
                await store.change(sku, {"unit_amount": amount}, None, TRACE)
    except (ProductExists, UnknownProduct):
        pass


async def database_killed(server: PostgresServer, world: World, random_: random.Random) -> None:
    """In the middle of two writers' work; it runs again afterwards."""
    has_written = asyncio.Event()

    async def write() -> None:
        store, *_ = world.replica(Fate(random_, 0.0))
        assert isinstance(store.outbox, MortalOutbox)
        promised = store.outbox.promised = []
        try:
            while True:
                await update(store, random_)
                world.promised += promised
                promised.clear()
                has_written.set()
        except DatabaseUnavailable:
            world.perhaps += promised

    async with asyncio.TaskGroup() as writers:
        for _ in range(2):
            writers.create_task(write())
        await has_written.wait()
        os.kill(server.record.pid, signal.SIGKILL)
        await asyncio.to_thread(server.start)


async def prices(world: World) -> dict[str, dict[str, str]]:
    """What orders see."""
    shown = {sku: await world.redis.hgetall(keyspace.product(sku)) for sku in SKUS}
    return {sku: price for sku, price in shown.items() if price}


async def expected(store: ProductStore) -> dict[str, dict[str, str]]:
    """What they should see."""
    return {
        each.sku: {"version": str(each.version), "deleted": "1"}
        if each.deleted
        else {
            "version": str(each.version),
            "unit_amount": str(each.unit_amount),
            "currency": each.currency,
            "name": each.name,
        }
        for each in await store.states("", 100)
    }


async def test_prices_agree_after_updates_with_kills_in_between(
    world: World, server: PostgresServer | None
) -> None:
    """Two replicas write and carry at one time, and die around anything that either does; PostgreSQL too."""
    random_ = random.Random(1)
    fate = Fate(random_, 0.15)
    replicas = [world.replica(fate) for _ in range(2)]
    for turn in range(1, UPDATES + 1):
        number = random_.randrange(2)
        store, carriers, _ = replicas[number]
        try:
            await fate.around(lambda: update(store, random_))  # noqa: B023 - awaited here
            rounds = [each.round() for each in random_.sample(carriers, random_.randint(0, 3))]
            other = random_.choice(replicas[1 - number][1])
            results: list[BaseException | None] = await asyncio.gather(
                *rounds, other.round(), return_exceptions=True
            )
        except Killed as killed:
            results = [killed]
        faults = [each for each in results if each is not None]
        assert all(isinstance(each, Killed) for each in faults), faults
        if faults:
            replicas[number] = world.replica(fate)
        if server is not None and turn % DATABASE_KILLED_EVERY == 0:
            await database_killed(server, world, random_)
        if turn % COMPARED_EVERY == 0:
            store, carriers, _ = world.replica(Fate(random_, 0.0))
            for carrier in carriers:
                await carrier.round()
            assert await prices(world) == await expected(store)
            assert await store.outbox.size() == 0
    _events_tell_it_in_order(world)


def _events_tell_it_in_order(world: World) -> None:
    """Everything that was promised; of each product in order, if repetitions are left out."""
    events = [json.loads(message.body) for message in world.broker.published]
    first = {event["id"]: event for event in reversed(events)}
    by_sku: dict[str, list[int]] = {}
    for event_id in dict.fromkeys(event["id"] for event in events):
        event = first[event_id]
        by_sku.setdefault(event["subject"], []).append(event["data"]["version"])
    assert all(versions == sorted(set(versions)) for versions in by_sku.values())
    assert set(world.promised) <= first.keys() <= {*world.promised, *world.perhaps}
    assert len(world.promised) > UPDATES / 3


async def test_prices_that_were_lost_or_changed_by_hand_are_put_right(world: World) -> None:
    """By a look at all of them, as at every start; so are those that are newer than a database set back."""
    store, carriers, projection = world.replica(Fate(random.Random(1), 0.0))
    for sku in SKUS:
        await store.create(CASE | {"sku": sku}, TRACE)
    await store.delete(SKUS[0], None, TRACE)
    await carriers[0].round()
    await world.redis.delete(keyspace.product(SKUS[0]), keyspace.product(SKUS[1]))
    await world.redis.set(keyspace.product(SKUS[2]), "x")
    await world.redis.hset(keyspace.product(SKUS[3]), "unit_amount", "1")
    await world.redis.hset(keyspace.product(SKUS[4]), "version", "900")
    await projection.compare()
    await carriers[0].round()
    right = await expected(store)
    assert await prices(world) == right
    assert right[SKUS[4]]["version"] == "901"
