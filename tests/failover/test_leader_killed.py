"""The queue's leader dies under load. This is what the pipeline is for."""

import asyncio
from collections.abc import Callable

import pytest

from shared.pipeline import ORDER_PROCESSOR
from tests.harness.brokers import leader_of
from tests.harness.running import Pipeline
from tests.harness.trial import trial

pytestmark = [pytest.mark.failover, pytest.mark.timeout(240)]


async def test_no_order_is_lost_or_doubled_when_the_leader_of_the_queue_is_killed(
    pipeline: Pipeline, record_property: Callable[[str, object], None]
) -> None:
    """2,000 orders under load, SIGKILL of the leader in the middle: lost 0, doubled 0, oversold 0."""
    leader = await leader_of(pipeline, ORDER_PROCESSOR.queue)
    async with trial(pipeline, orders=2_000, concurrency=50) as run:
        await run.reached(0.25)
        await asyncio.to_thread(pipeline.cluster.kill, leader)
        verdict = await run.finish()
        available = await run.client.stock(run.sku)
    gap = run.longest_gap_seconds()
    record_property("longest gap between two 202s", f"{gap:.2f} s")
    assert verdict.faults() == {}
    assert available == 0
