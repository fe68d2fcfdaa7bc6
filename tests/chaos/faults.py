"""The faults that a schedule is drawn from. Each breaks something, waits, and mends it."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from shared.pipeline import CONSUMPTIONS, ORDER_PROCESSOR
from shared.services import SERVICES
from tests.harness.absence import SHOP_PARTS, Absence, away
from tests.harness.brokers import delay, frozen_part, leader_of, partitioned, rabbitmqctl
from tests.harness.clusters import NODES
from tests.harness.crash_points import CRASHES
from tests.harness.partition import can_drop_packets
from tests.harness.running import Pipeline
from tests.harness.waiting import wait_until

Fault = Callable[[Pipeline, random.Random], Awaitable[str]]
"""Injects and mends; returns what exactly it did."""

ON_THE_WAY = tuple(name for name in SERVICES if name != "dashboard")


async def leader_killed(pipeline: Pipeline, random_: random.Random) -> str:
    """The node that leads a queue dies and is started again."""
    queue = random_.choice(CONSUMPTIONS).queue
    node = await leader_of(pipeline, queue)
    await asyncio.to_thread(pipeline.cluster.kill, node)
    await delay(random_.uniform(1, 4))
    await asyncio.to_thread(pipeline.cluster.start)
    return f"{node}, leader of {queue}"


async def leader_frozen(pipeline: Pipeline, random_: random.Random) -> str:
    """The leader stands still without anybody being told."""
    node = await leader_of(pipeline, ORDER_PROCESSOR.queue)
    seconds = random_.uniform(5, 20)
    async with frozen_part(pipeline, node):
        await delay(seconds)
    await asyncio.to_thread(pipeline.cluster.start)
    return f"{node} for {seconds:.0f} s"


async def leader_cut_off(pipeline: Pipeline, random_: random.Random) -> str:
    """Packets between the leader and its peers are dropped, while clients reach all three."""
    node = await leader_of(pipeline, ORDER_PROCESSOR.queue)
    seconds = random_.uniform(5, 25)
    async with partitioned(pipeline, node):
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
    async with frozen_part(pipeline, "redis"):
        await delay(seconds)
    return f"{seconds:.1f} s"


async def service_killed(pipeline: Pipeline, random_: random.Random) -> str:
    """A service dies and is started again, as its supervisor would."""
    service = random_.choice(ON_THE_WAY)
    await asyncio.to_thread(pipeline.services.kill, service)
    await pipeline.start(service)
    return service


async def service_crashed(pipeline: Pipeline, random_: random.Random) -> str:
    """A service ends itself at one of its crash points, and is started again without one."""
    service, failpoint = random_.choice(CRASHES)
    hits = random_.randint(1, 20)
    await pipeline.stop(service)
    await asyncio.to_thread(pipeline.services.start, service, {"FAILPOINT": f"{failpoint}:{hits}"})
    await wait_until(lambda: pipeline.services.pid(service) is None, what=f"{service} dead at {failpoint}")
    await pipeline.start(service)
    return f"{service} at {failpoint}"


async def service_stopped(pipeline: Pipeline, random_: random.Random) -> str:
    """A service drains and is started again, as in a rolling restart."""
    service = random_.choice(ON_THE_WAY)
    await pipeline.stop(service)
    await pipeline.start(service)
    return service


async def shop_killed(pipeline: Pipeline, random_: random.Random) -> str:
    """Accounts, the catalogue, PostgreSQL or the cache dies and is started again."""
    return await _without(pipeline, random_, Absence.KILLED)


async def shop_frozen(pipeline: Pipeline, random_: random.Random) -> str:
    """One of them stands still."""
    return await _without(pipeline, random_, Absence.FROZEN)


async def shop_refusing(pipeline: Pipeline, random_: random.Random) -> str:
    """One of them takes no writes any more, or is let into its database no more."""
    return await _without(pipeline, random_, Absence.REFUSING)


async def _without(pipeline: Pipeline, random_: random.Random, how: Absence) -> str:
    part, seconds = random_.choice(SHOP_PARTS), random_.uniform(0.5, 4)
    async with away(pipeline, part, how):
        await delay(seconds)
    return f"{part} for {seconds:.1f} s"


DECK: Mapping[Fault, int] = {
    leader_killed: 12,
    leader_frozen: 3,
    leader_cut_off: 2,
    brokers_killed: 5,
    memory_alarm: 2,
    redis_killed: 5,
    redis_frozen: 3,
    service_killed: 8,
    service_crashed: 16,
    service_stopped: 4,
    shop_killed: 6,
    shop_frozen: 4,
    shop_refusing: 4,
}
"""How often each fault comes in a whole deck of 74, which takes more than 50 processes' lives."""

FAULTS: Mapping[str, Fault] = {fault.__name__.replace("_", " "): fault for fault in DECK}
UPGRADED: Final = "{} upgraded"


def upgrade_of(service: str) -> Fault:
    """A service of an earlier tree drains, and that of this tree takes its place."""

    async def upgraded(pipeline: Pipeline, _: random.Random) -> str:
        await pipeline.stop(service)
        await pipeline.start(service)
        return service

    return upgraded


UPGRADES: Mapping[str, Fault] = {UPGRADED.format(name): upgrade_of(name) for name in SERVICES}
"""What no schedule is drawn from: each comes once, in an order."""


def drawn(faults: int, random_: random.Random) -> list[str]:
    """A schedule of that length: whole decks, each shuffled, so that no kind is missing from a long one."""
    possible = {
        name: fault for name, fault in FAULTS.items() if fault is not leader_cut_off or can_drop_packets()
    }
    schedule: list[str] = []
    while len(schedule) < faults:
        deck = [name for name, fault in possible.items() for _ in range(DECK[fault])]
        random_.shuffle(deck)
        schedule += deck
    return schedule[:faults]
