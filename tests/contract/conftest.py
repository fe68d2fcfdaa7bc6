"""The adapters that each contract suite is run against."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shared.messaging.memory import MemoryBroker
from shared.pipeline import queues
from shared.redis.client import Redis, open_redis
from shared.redis.rights import OPERATOR, users_of
from shared.service.infrastructure import (
    ClusterInfrastructure,
    SupervisedDeadLetterBox,
    SupervisedPublisher,
    SupervisedSubscriber,
)
from shared.service.lifecycle import running
from shared.services import STORE
from tests.harness.brokers import purge
from tests.harness.clusters import ClusterKind
from tests.harness.databases import PostgresServer, can_run_postgres, postgres_server
from tests.harness.running import Pipeline, settings_of
from tests.harness.stores import RedisServer, native_redis_server, store_in_process
from tests.harness.waiting import wait_until

STORE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerUnderTest:
    """All parts of a broker adapter, with empty queues."""

    publisher: SupervisedPublisher
    subscriber: SupervisedSubscriber
    dead_letters: SupervisedDeadLetterBox


@pytest.fixture(params=["memory", pytest.param("rabbitmq", marks=pytest.mark.broker)])
async def broker(request: pytest.FixtureRequest) -> AsyncIterator[BrokerUnderTest]:
    """The in-memory broker, then the real cluster, whatever the test before it broke."""
    if request.param == "memory":
        memory = MemoryBroker()
        yield BrokerUnderTest(publisher=memory, subscriber=memory, dead_letters=memory)
        return
    pipeline: Pipeline = request.getfixturevalue("running_pipeline")
    await asyncio.to_thread(pipeline.stop_all)
    await asyncio.to_thread(pipeline.cluster.start)
    infrastructure = ClusterInfrastructure(settings_of(pipeline.cluster))
    publisher = infrastructure.publisher("contract", timeout_seconds=5.0)
    subscriber = infrastructure.subscriber("contract")
    box = infrastructure.dead_letters("contract")
    async with running(publisher.run(), subscriber.run(), box.run()):
        await publisher.wait_ready()
        await wait_until(lambda: box.unready_reason() is None, what="sight of the dead letters")
        await purge(pipeline.cluster.rabbitmq_urls[0], *(queue.name for queue in queues()))
        yield BrokerUnderTest(publisher=publisher, subscriber=subscriber, dead_letters=box)


@pytest.fixture(scope="session")
def redis_server(cluster_kind: ClusterKind) -> Iterator[RedisServer]:
    """A Redis for store suites alone, which comes up in a moment and takes no brokers along."""
    from tests.harness.container_cluster import container_redis_server

    in_container = cluster_kind is ClusterKind.CONTAINERS
    with container_redis_server() if in_container else native_redis_server() as server:
        yield server


@pytest.fixture(params=["in-process", pytest.param("redis", marks=pytest.mark.broker)])
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    """An empty store, for its operator: the in-process one, then a real Redis. See ``as_service``."""
    if request.param == "in-process":
        async with store_in_process() as client:
            yield client
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    async with AsyncExitStack() as stack:
        logins: dict[str, Any] = {}
        for login in users_of(STORE):
            opened = open_redis(server.login_url(login), timeout_seconds=STORE_SECONDS, max_connections=20)
            logins[login] = await stack.enter_async_context(opened)
        client = logins[OPERATOR]
        client.logins = logins
        await client.flushall()
        yield client


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of this test run."""
    if not can_run_postgres():
        pytest.skip("PostgreSQL is not installed")
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/database.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_database("tried")
