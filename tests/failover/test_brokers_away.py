"""Brokers freeze, die by two and by three, and raise alarms; orders are kept and answers come in time."""

import asyncio
from collections.abc import Callable

import pytest

from shared.pipeline import ORDER_PROCESSOR
from tests.harness.brokers import delay, frozen_part, leader_of, partitioned, rabbitmqctl
from tests.harness.client import gateway_client
from tests.harness.clusters import NODES
from tests.harness.running import Pipeline
from tests.harness.trial import trial
from tests.harness.waiting import wait_until

pytestmark = [pytest.mark.failover, pytest.mark.timeout(300)]

FROZEN_SECONDS = 20.0
FLOWS_AGAIN_SECONDS = 35.0
ANSWER_SECONDS = 5.0


async def test_a_frozen_leader_holds_nobody_up_for_long(pipeline: Pipeline) -> None:
    """SIGSTOP of the leader for 20 s: every answer within the deadline, nothing lost."""
    leader = await leader_of(pipeline, ORDER_PROCESSOR.queue)
    async with trial(pipeline, orders=600, concurrency=10) as run:
        await run.reached(0.1)
        async with frozen_part(pipeline, leader):
            await delay(FROZEN_SECONDS)
        verdict = await run.finish()
    assert verdict.faults() == {}
    assert run.longest_gap_seconds() < ANSWER_SECONDS


@pytest.mark.parametrize("from_clients", [False, True], ids=["from its peers", "from everybody"])
async def test_a_leader_that_is_cut_off_holds_nobody_up_for_long(
    pipeline: Pipeline, record_property: Callable[[str, object], None], from_clients: bool
) -> None:
    """Until it flows again without it: every answer within the deadline, and nothing lost."""
    if not pipeline.cluster.can_cut_off:
        pytest.skip("dropping packets takes iptables and root")
    leader = await leader_of(pipeline, ORDER_PROCESSOR.queue)
    async with trial(pipeline, orders=600, concurrency=10) as run:
        await run.reached(0.1)
        async with partitioned(pipeline, leader, from_clients=from_clients):
            seconds = await flows_again(pipeline, run.prefix.replace("trial", "probe"))
        record_property("after the cut it flows again within", f"{seconds:.1f} s")
        verdict = await run.finish()
    assert verdict.faults() == {}
    assert run.longest_gap_seconds() < ANSWER_SECONDS


async def flows_again(pipeline: Pipeline, order_id: str) -> float:
    """How long it takes until an order that is placed now has been decided."""
    async with gateway_client(pipeline.gateway_url) as client:
        await client.place_until_known({"id": order_id, "sku": order_id, "qty": 1})

        async def decided() -> bool:
            return await client.status(order_id) == "rejected"

        return await wait_until(decided, timeout_seconds=FLOWS_AGAIN_SECONDS, what="flowing again")


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


async def test_a_rolling_restart_of_all_three_brokers(
    pipeline: Pipeline, record_property: Callable[[str, object], None]
) -> None:
    """Each node is stopped and started in turn, under load: nothing lost, and no long silence."""
    async with trial(pipeline, orders=900, concurrency=10) as run:
        for number, node in enumerate(NODES):
            await run.reached(0.1 + 0.2 * number)
            await asyncio.to_thread(pipeline.cluster.stop_part, node)
            await asyncio.to_thread(pipeline.cluster.start)
        verdict = await run.finish()
    record_property("longest gap between two 202s", f"{run.longest_gap_seconds():.2f} s")
    assert verdict.faults() == {}
    assert run.longest_gap_seconds() < ANSWER_SECONDS


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
