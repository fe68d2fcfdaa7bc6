"""The whole catalogue in this process, on stores that tests can take away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession
from fakeredis import FakeServer

from catalogue import cache, freshness, main, projection, reading
from catalogue.main import PROGRAM
from catalogue.settings import CatalogueSettings
from orderctl.embedded.infrastructure import EmbeddedInfrastructure, VolatileRedis
from shared.messaging.memory import MemoryBroker
from shared.messaging.ports import OutgoingMessage
from shared.redis.client import Redis
from shared.settings import CommonSettings
from shared.sql.database import Database, open_database
from shared.sql.migrations import migrations_of
from tests.harness.stores import free_port
from tests.harness.waiting import wait_until

CASE: dict[str, Any] = {
    "sku": "phone-case",
    "name": "Phone case",
    "description": "Holds on by magnets.",
    "category": "Electronics",
    "unit_amount": 1999,
    "currency": "EUR",
}


class ListeningBroker(MemoryBroker):
    """Remembers what was published."""

    def __init__(self) -> None:
        super().__init__()
        self.published: list[OutgoingMessage] = []

    async def publish(self, message: OutgoingMessage) -> None:
        await super().publish(message)
        self.published.append(message)


@dataclass(slots=True)
class Backstage:
    """What replicas of the catalogue share. ``connected`` of a server is whether it can be reached."""

    database_url: str
    store: FakeServer = field(default_factory=FakeServer)
    cache: FakeServer = field(default_factory=FakeServer)
    broker: ListeningBroker = field(default_factory=ListeningBroker)

    def primary(self) -> Any:
        """A client of the store in which orders look for prices."""
        return VolatileRedis(server=self.store, decode_responses=True)


class _Infrastructure(EmbeddedInfrastructure):
    def __init__(self, backstage: Backstage) -> None:
        super().__init__(backstage.broker, backstage.store)
        self._cache = backstage.cache
        self._database_url = backstage.database_url
        self.databases: list[Database] = []

    def database(self, service: str, *, timeout_seconds: float) -> AbstractAsyncContextManager[Database]:
        return self._opened(service, timeout_seconds)

    @asynccontextmanager
    async def _opened(self, service: str, timeout_seconds: float) -> AsyncIterator[Database]:
        url, folder = self._database_url, migrations_of(service)
        async with open_database(url, folder, timeout_seconds=timeout_seconds) as opened:
            self.databases.append(opened)
            yield opened

    def cache(self, *, timeout_seconds: float, max_connections: int) -> AbstractAsyncContextManager[Redis]:
        return super().cache(timeout_seconds=timeout_seconds, max_connections=max_connections)


@dataclass(slots=True)
class Catalogue:
    """A replica, and a client of it."""

    session: ClientSession
    operations: ClientSession
    database: Database
    backstage: Backstage

    async def send(self, method: str, path: str, body: Any = None, **headers: str) -> ClientResponse:
        """Sends JSON; header names are written with underscores. The answer has been read."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await self.session.request(method, path, json=body, headers=named)
        await answer.read()
        return answer

    async def create(self, **fields: Any) -> ClientResponse:
        """Adds a product like the usual one, but for ``fields``."""
        answer = await self.send("POST", "/products", CASE | fields)
        assert answer.status == 201, await answer.text()
        return answer

    async def seen(self, path: str) -> tuple[str | None, Any]:
        """Where an answer came from, and what it says."""
        answer = await self.send("GET", path)
        return answer.headers.get("X-Cache"), await answer.json(content_type=None)

    async def figure(self, sample: str) -> float:
        """A figure of ``/metrics``; 0 where there is none yet."""
        text = await (await self.operations.get("/metrics")).text()
        return next(
            (float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(sample)), 0
        )


def without_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives everything the time that a loaded machine takes; a test that is about time does without."""
    monkeypatch.setattr(freshness, "KNOWN_FOR_SECONDS", 30.0)
    monkeypatch.setattr(main, "PAUSE_SECONDS", 15.0)  # half of what a question about writes may take
    monkeypatch.setattr(projection, "FOLLOWED_FOR_SECONDS", 30.0)
    monkeypatch.setattr(reading, "LONGEST_WAIT_SECONDS", 30.0)
    monkeypatch.setattr(cache, "READER_SECONDS", 30.0)
    for deadline in ("DATABASE", "STORE", "CACHE"):
        monkeypatch.setenv(f"CATALOGUE_{deadline}_TIMEOUT_SECONDS", "30")


@asynccontextmanager
async def catalogue(backstage: Backstage, **settings: Any) -> AsyncIterator[Catalogue]:
    """A replica that is ready, until the end of the block."""
    infrastructure, stop = _Infrastructure(backstage), asyncio.Event()
    own = CatalogueSettings(port=free_port(), ops_port=free_port(), **settings)
    running = asyncio.create_task(PROGRAM.run(CommonSettings(), own, infrastructure, stop))
    base = "http://127.0.0.1:{}".format
    try:
        async with ClientSession(base(own.port)) as session, ClientSession(base(own.ops_port)) as operations:

            async def is_ready() -> bool:
                if running.done():
                    running.result()
                try:
                    return (await operations.get("/readyz")).status == 200
                except OSError:
                    return False

            await wait_until(is_ready, what="the catalogue is ready")
            yield Catalogue(
                session=session,
                operations=operations,
                database=infrastructure.databases[0],
                backstage=backstage,
            )
    finally:
        stop.set()
        await running
