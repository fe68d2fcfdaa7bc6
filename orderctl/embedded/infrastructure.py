"""The embedded mode's broker and store, in the place of a cluster and of Redis."""

import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from fakeredis import FakeAsyncRedis, FakeServer
from redis.asyncio import BlockingConnectionPool

from orderctl.embedded import database_url
from orderctl.embedded.management import MemoryManagement
from shared.messaging.memory import MemoryBroker
from shared.messaging.rabbitmq.management import Management
from shared.redis.client import Redis
from shared.service.infrastructure import SupervisedDeadLetterBox, SupervisedPublisher, SupervisedSubscriber
from shared.sql.database import Database, open_database
from shared.sql.migrations import migrations_of

SETTINGS: Final[Mapping[str, str]] = {
    "appendonly": "no",
    "appendfsync": "no",
    "maxmemory-policy": "noeviction",
}


class VolatileRedis(FakeAsyncRedis):
    """A client of the in-process store. Asked how durable that is, it says what is so: not at all."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Fakeredis knows no CONFIG."""
        if args[0] == "CONFIG GET":
            return dict(SETTINGS)
        redis: Any = super()
        return await redis.execute_command(*args, **options)


class EmbeddedInfrastructure:
    """One broker, one store and one cache for all services of this process; see `Infrastructure`.

    Databases are files in ``folder``, which is emptied first; without one, they are in a folder of their own.
    """

    is_volatile = True

    def __init__(self, broker: MemoryBroker, store: FakeServer, folder: Path | None = None) -> None:
        self._folder = folder
        self._broker = broker
        self._store = store
        self._cache = FakeServer()

    def store(self, *, timeout_seconds: float, max_connections: int) -> AbstractAsyncContextManager[Redis]:
        return self._client(self._store, timeout_seconds, max_connections)

    def cache(self, *, timeout_seconds: float, max_connections: int) -> AbstractAsyncContextManager[Redis]:
        return self._client(self._cache, timeout_seconds, max_connections)

    def database(self, service: str, *, timeout_seconds: float) -> AbstractAsyncContextManager[Database]:
        return _volatile_database(service, timeout_seconds, self._folder)

    def publisher(self, service: str, *, timeout_seconds: float) -> SupervisedPublisher:
        return self._broker

    def subscriber(self, service: str) -> SupervisedSubscriber:
        return self._broker

    def dead_letters(self, service: str) -> SupervisedDeadLetterBox:
        return self._broker

    def management(self, *, timeout_seconds: float) -> Management:
        return MemoryManagement(self._broker)

    @asynccontextmanager
    async def _client(
        self, server: FakeServer, timeout_seconds: float, max_connections: int
    ) -> AsyncIterator[Redis]:
        client = VolatileRedis(
            server=server,
            connection_pool_class=BlockingConnectionPool,
            max_connections=max_connections,
            timeout=timeout_seconds,
            socket_timeout=None,
            decode_responses=True,
            encoding_errors="replace",
        )
        try:
            yield client
        finally:
            await client.aclose()
            await client.connection_pool.disconnect()


@asynccontextmanager
async def _volatile_database(
    service: str, timeout_seconds: float, folder: Path | None
) -> AsyncIterator[Database]:
    """A file that ends with the process: what SQLite keeps in memory would end with a connection."""
    with TemporaryDirectory(prefix=f"{service}-") if folder is None else _emptied(folder / service) as place:
        url = database_url(Path(place), service)
        async with open_database(url, migrations_of(service), timeout_seconds=timeout_seconds) as database:
            yield database


@contextmanager
def _emptied(folder: Path) -> Iterator[str]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    yield str(folder)
    shutil.rmtree(folder, ignore_errors=True)
