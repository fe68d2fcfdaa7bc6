"""The adapters that each contract suite is run against."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiormq
import pytest

from shared.infrastructure import ClusterInfrastructure, SupervisedPublisher, SupervisedSubscriber
from shared.lifecycle import running
from shared.messaging.memory import MemoryBroker
from shared.pipeline import queues
from tests.harness.running import Pipeline, settings_of


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerUnderTest:
    """Both halves of a broker adapter, with empty queues."""

    publisher: SupervisedPublisher
    subscriber: SupervisedSubscriber


@pytest.fixture(params=["memory", pytest.param("rabbitmq", marks=pytest.mark.broker)])
async def broker(request: pytest.FixtureRequest) -> AsyncIterator[BrokerUnderTest]:
    """The in-memory broker, then the real cluster."""
    if request.param == "memory":
        memory = MemoryBroker()
        yield BrokerUnderTest(publisher=memory, subscriber=memory)
        return
    pipeline: Pipeline = request.getfixturevalue("running_pipeline")
    await asyncio.to_thread(pipeline.stop_all)
    infrastructure = ClusterInfrastructure(settings_of(pipeline.cluster), random.Random(1))
    publisher = infrastructure.publisher("contract", timeout_seconds=5.0)
    subscriber = infrastructure.subscriber("contract")
    async with running(publisher.run(), subscriber.run()):
        await publisher.wait_ready()
        await _purge(pipeline.cluster.rabbitmq_urls[0])
        yield BrokerUnderTest(publisher=publisher, subscriber=subscriber)


async def _purge(url: str) -> None:
    connection = await aiormq.connect(url)
    channel = await connection.channel()
    for queue in queues():
        await channel.queue_purge(queue.name)
    await connection.close()
