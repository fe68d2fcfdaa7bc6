"""Stores to run the real scripts against: one in this process, and a Redis of the tests' own."""

import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fakeredis import FakeAsyncRedis, FakeServer

from orderctl.native import processes, redis as native_redis, stores
from orderctl.native.layout import Layout
from orderctl.native.ports import LOOPBACK, REDIS
from shared.redis.client import Redis
from shared.redis.rights import OPERATOR

START_SECONDS = 20.0
STOP_SECONDS = 5.0


@asynccontextmanager
async def store_in_process(server: FakeServer | None = None) -> AsyncIterator[Redis]:
    """A client of an in-process store; with ``server`` given, tests can disconnect it."""
    client = FakeAsyncRedis(server=server or FakeServer(), decode_responses=True, socket_timeout=None)
    try:
        yield client
    finally:
        await client.aclose()


def as_service(redis: Any, service: str) -> Redis:
    """The same store under the service's own login, where it has logins."""
    client: Redis = getattr(redis, "logins", {}).get(service, redis)
    return client


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisServer:
    """A Redis that only this test run knows."""

    port: int
    login_url: Callable[[str], str]
    freeze: Callable[[], object]
    thaw: Callable[[], object]

    @property
    def url(self) -> str:
        """Where its operator finds it."""
        return self.login_url(OPERATOR)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stops the process for the block, as a stalled disk would; connections stay open."""
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    def ask(self, *command: str) -> str:
        """The raw answer to one command, past every client under test."""
        return native_redis.ask(self.url, *command)


@contextmanager
def native_redis_server() -> Iterator[RedisServer]:
    """Runs a Redis, set up as ``orderctl`` does, on a port and in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="orders-redis-", ignore_cleanup_errors=True) as folder:
        layout = Layout(Path(folder))
        layout.create()
        port = free_port()
        record = stores.start(layout, REDIS, port)
        login_url = partial(native_redis.url, layout, port)
        try:
            is_up = processes.wait_until(lambda: stores.ready(layout, REDIS, port), START_SECONDS)
            assert is_up, "Redis is not up"
            yield RedisServer(
                port=port,
                login_url=login_url,
                freeze=partial(processes.send, record, signal.SIGSTOP),
                thaw=partial(processes.send, record, signal.SIGCONT),
            )
        finally:
            processes.terminate(record, STOP_SECONDS)


def free_port() -> int:
    """A port on loopback that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
