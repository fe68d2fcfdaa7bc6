"""Brokers freeze, die by two and by three, and raise alarms; orders are kept and answers come in time."""

import asyncio

import pytest

from shared.pipeline import ORDER_PROCESSOR
from tests.harness.brokers import delay, frozen, leader_of, rabbitmqctl
from tests.harness.partition import can_partition, partitioned
from tests.harness.running import Pipeline
from tests.harness.trial import trial

pytestmark = [pytest.mark.failover, pytest.mark.timeout(300)]

NODES = ("rabbitmq1", "rabbitmq2", "rabbitmq3")
FROZEN_SECONDS = 20.0
PARTITIONED_SECONDS = 25.0
ANSWER_SECONDS = 5.0


async def test_a_frozen_leader_holds_nobody_up_for_long(pipeline: Pipeline) -> None:
    """SIGSTOP of the leader for 20 s: every answer within the deadline, nothing lost."""
    async with trial(pipeline, orders=600, concurrency=10) as run:
        await run.reached(0.1)
        leader = await leader_of(pipeline, ORDER_PROCESSOR.queue)
        async with frozen(pipeline.cluster.node_pid(leader)):
            await delay(FROZEN_SECONDS)
        verdict = await run.finish()
    assert verdict.faults() == {}
    assert run.longest_gap_seconds() < ANSWER_SECONDS


@pytest.mark.skipif(not can_partition(), reason="dropping packets takes iptables and root")
async def test_a_leader_that_its_peers_cannot_reach_holds_nobody_up_for_long(pipeline: Pipeline) -> None:
    """Cut off for 25 s while clients still reach it: every answer within the deadline, nothing lost."""
    async with trial(pipeline, orders=600, concurrency=10) as run:
        await run.reached(0.1)
        async with partitioned(pipeline, await leader_of(pipeline, ORDER_PROCESSOR.queue)):
            await delay(PARTITIONED_SECONDS)
        verdict = await run.finish()
    assert verdict.faults() == {}
    assert run.longest_gap_seconds() < ANSWER_SECONDS


async def test_two_of_three_brokers_killed_leaves_orders_in_the_outbox(pipeline: Pipeline) -> None:
    """Without a majority nothing is confirmed; 202s go on, and all of it flows once both are back."""
    async with trial(pipeline, orders=400, concurrency=10) as run:
        await run.reached(0.25)
        for node in NODES[:2]:
            await asyncio.to_thread(pipeline.cluster.kill, node)
        await run.reached(1.0)
        await asyncio.to_thread(pipeline.cluster.start)
        verdict = await run.finish()
    assert verdict.faults() == {}
    assert run.longest_gap_seconds() < ANSWER_SECONDS


async def test_all_three_brokers_killed_at_once(pipeline: Pipeline) -> None:
    """The whole cluster dies under load and comes back: nothing lost, nothing doubled."""
    async with trial(pipeline, orders=600, concurrency=20) as run:
        await run.reached(0.25)
        await asyncio.gather(*(asyncio.to_thread(pipeline.cluster.kill, node) for node in NODES))
        await run.reached(1.0)
        await asyncio.to_thread(pipeline.cluster.start)
        verdict = await run.finish()
    assert verdict.faults() == {}


async def test_a_memory_alarm_stalls_publishing_but_not_clients(pipeline: Pipeline) -> None:
    """While the brokers take no publishes, 202s come from the outbox within the deadline."""
    async with trial(pipeline, orders=400, concurrency=10) as run:
        await run.reached(0.25)
        await rabbitmqctl(pipeline, NODES[0], "set_vm_memory_high_watermark", "0.0001")
        try:
            await run.reached(1.0)
        finally:
            await rabbitmqctl(pipeline, NODES[0], "set_vm_memory_high_watermark", "0.4")
        verdict = await run.finish()
    assert verdict.faults() == {}
    assert run.longest_gap_seconds() < ANSWER_SECONDS
