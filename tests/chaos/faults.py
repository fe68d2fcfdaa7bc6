"""The faults that a schedule is drawn from. Each breaks something, waits, and mends it."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping

from shared.pipeline import NOTIFIER, ORDER_PROCESSOR
from tests.harness.brokers import delay, frozen, leader_of, rabbitmqctl
from tests.harness.running import Pipeline

Fault = Callable[[Pipeline, random.Random], Awaitable[str]]
"""Injects and mends; returns what exactly it did."""

NODES = ("rabbitmq1", "rabbitmq2", "rabbitmq3")
SERVICES = ("api_gateway", "order_processor", "notifier")


async def leader_killed(pipeline: Pipeline, random_: random.Random) -> str:
    """The node that leads a queue dies and is started again."""
    queue = random_.choice([ORDER_PROCESSOR.queue, NOTIFIER.queue])
    node = await leader_of(pipeline, queue)
    await asyncio.to_thread(pipeline.cluster.kill, node)
    await delay(random_.uniform(1, 4))
    await asyncio.to_thread(pipeline.cluster.start)
    return f"{node}, leader of {queue}"


async def leader_frozen(pipeline: Pipeline, random_: random.Random) -> str:
    """The leader stands still without anybody being told."""
    node = await leader_of(pipeline, ORDER_PROCESSOR.queue)
    seconds = random_.uniform(5, 20)
    async with frozen(pipeline.cluster.node_pid(node)):
        await delay(seconds)
    await asyncio.to_thread(pipeline.cluster.start)
    return f"{node} for {seconds:.0f} s"


async def brokers_killed(pipeline: Pipeline, random_: random.Random) -> str:
    """Two or all three nodes die at once."""
    nodes = random_.sample(NODES, random_.choice([2, 3]))
    await asyncio.gather(*(asyncio.to_thread(pipeline.cluster.kill, node) for node in nodes))
    await delay(random_.uniform(0.5, 3))
    await asyncio.to_thread(pipeline.cluster.start)
    return ", ".join(sorted(nodes))


async def memory_alarm(pipeline: Pipeline, random_: random.Random) -> str:
    """The brokers take no more publishes for a while."""
    seconds = random_.uniform(2, 6)
    await rabbitmqctl(pipeline, NODES[0], "set_vm_memory_high_watermark", "0.0001")
    await delay(seconds)
    await rabbitmqctl(pipeline, NODES[0], "set_vm_memory_high_watermark", "0.4")
    return f"{seconds:.0f} s"


async def redis_killed(pipeline: Pipeline, random_: random.Random) -> str:
    """The store dies and is started again."""
    await asyncio.to_thread(pipeline.cluster.kill, "redis")
    await delay(random_.uniform(0.2, 2))
    await asyncio.to_thread(pipeline.cluster.start)
    return "redis"


async def redis_frozen(pipeline: Pipeline, random_: random.Random) -> str:
    """The store stands still."""
    seconds = random_.uniform(1, 4)
    async with frozen(pipeline.cluster.node_pid("redis")):
        await delay(seconds)
    return f"{seconds:.1f} s"


async def service_killed(pipeline: Pipeline, random_: random.Random) -> str:
    """A service dies and is started again, as its supervisor would."""
    service = random_.choice(SERVICES)
    await asyncio.to_thread(pipeline.services.kill, service)
    await pipeline.start(service)
    return service


async def service_stopped(pipeline: Pipeline, random_: random.Random) -> str:
    """A service drains and is started again, as in a rolling restart."""
    service = random_.choice(SERVICES)
    await pipeline.stop(service)
    await pipeline.start(service)
    return service


FAULTS: Mapping[str, Fault] = {
    each.__name__.replace("_", " "): each
    for each in (
        leader_killed,
        leader_frozen,
        brokers_killed,
        memory_alarm,
        redis_killed,
        redis_frozen,
        service_killed,
        service_killed,
        service_stopped,
    )
}
