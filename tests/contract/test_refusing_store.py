"""A store that refuses, whatever it calls that, ends no service: each waits, says why, and goes on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partialmethod
from typing import Any

import aiohttp
import pytest
from fakeredis import FakeServer

from orderctl.embedded.infrastructure import EmbeddedInfrastructure
from orderctl.native.ports import LOOPBACK
from shared.errors import StoreUnavailable
from shared.messaging.memory import MemoryBroker
from shared.orders.redis.store import RedisOutbox
from shared.redis import client
from shared.redis.client import Redis, open_redis
from shared.redis.watch import StoreWatch
from shared.service.lifecycle import running
from shared.service.program import program_of
from shared.services import SERVICES
from shared.settings import CommonSettings
from tests.harness.refusals import RefusingStore, refusing_store
from tests.harness.stores import RedisServer, free_port
from tests.harness.waiting import wait_until

pytestmark = pytest.mark.broker

ERRORS = [
    "DENIED by the proxy",
    "ERR upstream failure",
    "CLUSTERDOWN The cluster is down",
    "LOADING Redis is loading the dataset in memory",
    "NOPERM this user has no permissions",
    "MOVED somewhere else",
    "WRONGTYPE Operation against a key holding the wrong kind of value",
    "NOSCRIPT No matching script",
    "X",
]
STOCK = 100
ORDER = {"id": "a", "sku": "cable", "qty": 1}
MOST_REFUSALS_A_SECOND = 80
"""By four services, each with a watch, a lease and jobs; a hot loop makes thousands."""


@pytest.fixture(autouse=True)
def soon_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal speaks for the store for a second."""
    monkeypatch.setattr(client, "REFUSED_FOR_SECONDS", 1.0)


@pytest.fixture
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every watch looks ten times a second."""
    made = partialmethod(StoreWatch.__init__, pause_seconds=0.1)
    monkeypatch.setattr(StoreWatch, "__init__", made)


class BehindAPort(EmbeddedInfrastructure):
    """The brokers in memory, and the store at a URL."""

    def __init__(self, url: str) -> None:
        super().__init__(MemoryBroker(), FakeServer())
        self._url = url

    def store(self, *, timeout_seconds: float, max_connections: int) -> AbstractAsyncContextManager[Redis]:
        return open_redis(self._url, timeout_seconds=timeout_seconds, max_connections=max_connections)


READY = "ok"


class Services:
    """All services in this process, each its real ``main``."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._infrastructure = BehindAPort(url)
        self._session = session
        self._stop = asyncio.Event()
        self._ports = {name: (free_port(), free_port()) for name in SERVICES}

    @asynccontextmanager
    async def up(self) -> AsyncIterator[None]:
        """Runs them for the block; one that ends by itself ends the block."""
        async with running(*(self._run(name) for name in SERVICES)):
            yield
            self._stop.set()

    async def _run(self, name: str) -> None:
        program, (port, ops_port) = program_of(name), self._ports[name]
        clients = {"port": port} if SERVICES[name].serves_clients else {}
        own = program.settings(ops_port=ops_port, **clients)
        await program.run(CommonSettings(), own, self._infrastructure, self._stop)
        assert self._stop.is_set(), f"{name} ended by itself"

    async def readiness(self, name: str, query: str = "") -> str:
        """What ``/readyz`` says, or nothing while nothing listens."""
        port, ops_port = self._ports[name]
        one_port = SERVICES[name].operations_port == SERVICES[name].client_port
        try:
            async with self._session.get(
                f"http://{LOOPBACK}:{port if one_port else ops_port}/readyz{query}"
            ) as got:
                return await got.text()
        except aiohttp.ClientError:
            return ""

    async def say(self, text: str) -> None:
        """Returns once every service is ready, or says ``text`` of the store, if only as a note."""
        query = "" if text == READY else "?verbose"
        for name in SERVICES:

            async def says(name: str = name) -> bool:
                return text in await self.readiness(name, query)

            await wait_until(says, timeout_seconds=15, what=f"{name} to say {text!r}")

    async def place(self, **changes: Any) -> tuple[int, dict[str, str], dict[str, Any]]:
        """Status, headers and body of the gateway's answer."""
        url = f"http://{LOOPBACK}:{self._ports['api_gateway'][0]}/orders"
        async with self._session.post(url, json=ORDER | changes) as answer:
            return answer.status, dict(answer.headers), await answer.json()

    async def status_of(self, order_id: str) -> str:
        """What the gateway says of the order."""
        url = f"http://{LOOPBACK}:{self._ports['api_gateway'][0]}/orders/{order_id}"
        async with self._session.get(url) as answer:
            return str((await answer.json()).get("status"))


@asynccontextmanager
async def services_behind(server: RedisServer) -> AsyncIterator[tuple[Services, RefusingStore]]:
    """The services, not yet up, and the port between them and an empty store with some stock."""
    server.ask("FLUSHALL")
    server.ask("SET", "inventory:cable", str(STOCK))
    async with (
        refusing_store(server.url) as (store, url),
        aiohttp.ClientSession() as session,
    ):
        yield Services(url, session), store


async def taken(services: Services, order_id: str) -> None:
    """Returns once the gateway has the order."""

    async def is_taken() -> bool:
        try:
            return (await services.place(id=order_id))[0] in {202, 409}
        except aiohttp.ClientError:  # not open yet
            return False

    await wait_until(is_taken, timeout_seconds=15, what=f"{order_id} to be taken")


async def created(services: Services, order_id: str) -> None:
    """Returns once the order is decided; being asked again converges."""

    async def is_created() -> bool:
        return await services.status_of(order_id) == "created"

    await taken(services, order_id)
    await wait_until(is_created, timeout_seconds=15, what=f"{order_id} to be decided")


async def refused(services: Services, order_id: str, words: str) -> None:
    """The gateway answers 503, with the store's own words."""
    status, headers, problem = await services.place(id=order_id)
    assert (status, "Retry-After" in headers) == (503, True)
    assert words in problem["detail"]


@pytest.mark.parametrize("error", [ERRORS[0], "MOVED somewhere else", "WRONGTYPE of everything"])
async def test_a_store_that_refuses_everything_from_before_the_start(
    redis_server: RedisServer, error: str
) -> None:
    """No service ends, none answers 500, each says why; healed, they go on without being told."""
    words = error.partition(" ")[2]
    async with services_behind(redis_server) as (services, store):
        store.refuse(error)
        async with services.up():
            await services.say(words)
            await refused(services, "a", words)
            refusals, loop = store.refused, asyncio.get_running_loop()
            began = loop.time()
            await wait_until(lambda: loop.time() - began > 1.0, what="a second to pass")
            assert store.refused - refusals < MOST_REFUSALS_A_SECOND
            store.heal()
            await created(services, "a")
            await services.say(READY)


@pytest.mark.usefixtures("quick_looks")
@pytest.mark.parametrize("commands", [(), ("EVALSHA", "EVAL")], ids=["everything", "scripts"])
async def test_a_store_that_refuses_in_the_middle(
    redis_server: RedisServer, commands: tuple[str, ...]
) -> None:
    """Whatever it calls that. Every order is decided once, and none is dead-lettered meanwhile."""
    async with services_behind(redis_server) as (services, store), services.up():
        await created(services, "first")
        for number, error in enumerate(ERRORS):
            words = error.partition(" ")[2] or error
            store.refuse(error, *commands)
            await refused(services, f"order-{number}", words)
            await services.say(words)
            store.heal()
            await created(services, f"order-{number}")
        assert str(STOCK - 1 - len(ERRORS)) in redis_server.ask("GET", "inventory:cable")


async def test_a_store_that_refuses_one_command(redis_server: RedisServer) -> None:
    """Whichever job needs it waits; orders whose way does not need it are taken all the same."""
    async with services_behind(redis_server) as (services, store), services.up():
        await created(services, "first")
        for command in ("ZRANGE", "ZREM", "ZCARD", "TIME", "HGETALL", "CONFIG", "CLIENT", "GET", "SET"):
            store.refuse("DENIED by the proxy", command)
            await taken(services, f"order-{command}")
            store.heal()
            await created(services, f"order-{command}")
        await services.say(READY)


async def test_a_command_that_was_refused_shows_in_readiness_for_a_while(redis_server: RedisServer) -> None:
    """The watch's own write is none of it: what the service met speaks too."""
    async with refusing_store(redis_server.url) as (store, url):
        store.refuse("DENIED by the proxy", "ZRANGE")
        async with open_redis(url, timeout_seconds=5.0, max_connections=2) as redis:
            watch = StoreWatch(redis, timeout_seconds=5.0)
            await watch.look()
            assert watch.unready_reason() is None
            with pytest.raises(StoreUnavailable, match="DENIED by the proxy"):
                await RedisOutbox(redis, timeout_seconds=5.0).older_than(0.0, 0, 1)
            assert watch.unready_reason() == "Redis: DENIED by the proxy"
