"""A quorum queue with fewer than three members is a promise half kept: every queue has three, always."""

import asyncio

import pytest

from shared.pipeline import queues
from tests.harness.brokers import management
from tests.harness.running import Pipeline
from tests.harness.waiting import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]


async def wait_for_three_members(pipeline: Pipeline) -> None:
    """Every queue of the map has three members, and all of them are online."""
    short: dict[str, list[str]] = {}

    async def complete() -> bool:
        shown = {queue["name"]: queue for queue in await management(pipeline, "queues/%2F")}
        short.clear()
        for queue in queues():
            members, online = (shown.get(queue.name, {}).get(each, []) for each in ("members", "online"))
            if len(members) != 3 or len(online) != 3:
                short[queue.name] = online
        return not short

    await wait_until(complete, timeout_seconds=60, what=lambda: f"three members online; short: {short}")


async def test_every_queue_keeps_three_members(pipeline: Pipeline) -> None:
    """After the start, after a node was killed and started again, and after everything was down."""
    await wait_for_three_members(pipeline)
    await asyncio.to_thread(pipeline.cluster.kill, "rabbitmq1")
    await asyncio.to_thread(pipeline.cluster.start)
    await wait_for_three_members(pipeline)
    await asyncio.to_thread(pipeline.stop_all)
    await asyncio.to_thread(pipeline.cluster.stop)
    await pipeline.make_whole()
    await wait_for_three_members(pipeline)
