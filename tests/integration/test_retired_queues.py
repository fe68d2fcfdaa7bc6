"""A queue of an earlier version is filled no more, and goes once its consumer has."""

import asyncio

import aiormq
import pytest

from shared.messaging.rabbitmq.management import ask_management, list_queues
from shared.messaging.rabbitmq.retired import QUEUES, remove_retired
from shared.messaging.rabbitmq.rights import VHOST
from shared.pipeline import RETIRED, bindings, queues
from tests.harness.running import Pipeline
from tests.harness.waiting import wait_until

pytestmark = pytest.mark.broker


async def test_a_retired_queue_is_unbound_at_once_and_removed_without_its_consumer(
    pipeline: Pipeline,
) -> None:
    """Older services need what is consumed yet; dead letters are the operator's."""
    url = pipeline.cluster.rabbitmq_management_urls[0]
    connection = await aiormq.connect(pipeline.cluster.rabbitmq_urls[0])
    channel = await connection.channel()
    for queue in queues(RETIRED):
        await channel.queue_declare(queue.name, durable=True, arguments=dict(queue.arguments))
    for each in bindings(RETIRED):
        await channel.queue_bind(each.queue, each.exchange, routing_key=each.routing_key)
    (old,) = RETIRED
    await channel.basic_publish(b"a letter", routing_key=old.dead_queue)
    consumer = await channel.basic_consume(old.queue, lambda _: asyncio.sleep(0))
    try:

        async def left() -> set[str]:
            await asyncio.to_thread(remove_retired, url, VHOST)
            return {each.name for each in await asyncio.to_thread(list_queues, url)} & QUEUES

        async def are(*names: str) -> bool:
            return await left() == set(names)

        assert await are(*QUEUES)
        bound = ask_management(url, f"/api/queues/%2F/{old.queue}/bindings")
        assert [each["source"] for each in bound] == [""]
        await channel.basic_cancel(str(consumer.consumer_tag))
        await wait_until(lambda: are(old.dead_queue), what="all but the letter to go")
    finally:
        for name in QUEUES:
            ask_management(url, f"/api/queues/%2F/{name}", method="DELETE", also_read=404)
        await connection.close()
