"""Where services get their broker and their store from: real ones here, in-memory ones elsewhere.

A service's ``main`` is handed an Infrastructure and builds everything else itself, so that tests and a
single-process run use the same builders as production.
"""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from shared.messaging.dead_letters import DeadLetterBox, DeadLetterCount
from shared.messaging.ports import Publisher, Subscriber
from shared.messaging.rabbitmq.broker import RabbitPublisher, RabbitSubscriber
from shared.messaging.rabbitmq.connection import LinkTimes
from shared.messaging.rabbitmq.dead_letters import RabbitDeadLetterBox
from shared.messaging.rabbitmq.management import Management, ManagementClient, vhost_of
from shared.pipeline import QUORUM_SIZE
from shared.redis.client import Redis, open_redis
from shared.settings import CommonSettings, refuse_setting
from shared.sql.database import Database, open_database
from shared.sql.migrations import migrations_of


class Supervised(Protocol):
    """Something that keeps a connection while it runs."""

    def unready_reason(self) -> str | None:
        """Why it cannot be used at present, or None."""

    async def run(self) -> None:
        """Keeps the connection, until cancelled."""


class SupervisedPublisher(Publisher, Supervised, Protocol):
    """A publisher that looks after its own connection."""

    async def wait_ready(self) -> None:
        """Returns once it is connected and the topology stands."""


class SupervisedSubscriber(Subscriber, Supervised, Protocol):
    """A subscriber that looks after its own connection."""


class SupervisedDeadLetterBox(DeadLetterBox, DeadLetterCount, Supervised, Protocol):
    """Sight of the dead letters over a connection that it looks after itself."""


class Infrastructure(Protocol):
    """Makes a service's connections to the world.

    ``is_volatile`` says that nothing is meant to outlive the process.
    """

    is_volatile: bool

    def store(self, *, timeout_seconds: float, max_connections: int) -> AbstractAsyncContextManager[Redis]:
        """The store, with that deadline on every command."""

    def cache(self, *, timeout_seconds: float, max_connections: int) -> AbstractAsyncContextManager[Redis]:
        """The Redis of which anything may be gone at any time, with that deadline on every command."""

    def database(self, service: str, *, timeout_seconds: float) -> AbstractAsyncContextManager[Database]:
        """The service's own SQL database, with that deadline on every transaction."""

    def publisher(self, service: str, *, timeout_seconds: float) -> SupervisedPublisher:
        """A publisher whose confirms must come within ``timeout_seconds``."""

    def subscriber(self, service: str) -> SupervisedSubscriber:
        """A subscriber on a connection of its own."""

    def dead_letters(self, service: str) -> SupervisedDeadLetterBox:
        """Sight of the dead letters, over a connection of its own."""

    def management(self, *, timeout_seconds: float) -> Management:
        """The brokers' management, with that deadline on every question."""


class ClusterInfrastructure:
    """The RabbitMQ cluster and the Redis that the settings name."""

    is_volatile = False

    def __init__(self, common: CommonSettings) -> None:
        self._common = common

    def store(self, *, timeout_seconds: float, max_connections: int) -> AbstractAsyncContextManager[Redis]:
        return open_redis(
            self._common.redis_url, timeout_seconds=timeout_seconds, max_connections=max_connections
        )

    def cache(self, *, timeout_seconds: float, max_connections: int) -> AbstractAsyncContextManager[Redis]:
        return open_redis(
            self._common.cache_url, timeout_seconds=timeout_seconds, max_connections=max_connections
        )

    def database(self, service: str, *, timeout_seconds: float) -> AbstractAsyncContextManager[Database]:
        if not self._common.database_url:
            refuse_setting("DATABASE_URL: must name this service's database")
        return open_database(
            self._common.database_url, migrations_of(service), timeout_seconds=timeout_seconds
        )

    def publisher(self, service: str, *, timeout_seconds: float) -> SupervisedPublisher:
        return RabbitPublisher(
            self._common.rabbitmq_urls,
            name=service,
            timeout_seconds=timeout_seconds,
            times=LinkTimes(),
        )

    def subscriber(self, service: str) -> SupervisedSubscriber:
        return RabbitSubscriber(self._common.rabbitmq_urls, name=service, times=LinkTimes())

    def dead_letters(self, service: str) -> SupervisedDeadLetterBox:
        return RabbitDeadLetterBox(self._common.rabbitmq_urls, name=service, times=LinkTimes())

    def management(self, *, timeout_seconds: float) -> Management:
        return ManagementClient(
            self._common.rabbitmq_management_urls,
            vhost=vhost_of(self._common.rabbitmq_urls[0]),
            timeout_seconds=timeout_seconds,
            members_needed=QUORUM_SIZE,
        )
