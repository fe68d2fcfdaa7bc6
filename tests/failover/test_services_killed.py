"""Services are killed, frozen past their leases, and asked to stop, all under load."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from shared.pipeline import CONSUMPTIONS, ORDER_PROCESSOR
from tests.harness.brokers import delay, frozen, leader_of
from tests.harness.running import Pipeline, metric_of
from tests.harness.trial import trial

pytestmark = [pytest.mark.failover, pytest.mark.timeout(240)]

CONSUMERS = [each.service for each in CONSUMPTIONS]
FROZEN_SECONDS = 17.0
"""Longer than the notifier's lease, and than the broker's patience with a silent connection."""


@pytest.mark.parametrize("service", ["api_gateway", *CONSUMERS])
async def test_a_service_killed_again_and_again_loses_and_doubles_nothing(
    pipeline: Pipeline, service: str
) -> None:
    """Three SIGKILLs at arbitrary moments; a killed notifier may repeat a group of log lines each time."""
    kills = 3
    async with trial(pipeline, orders=600, concurrency=20) as run:
        for kill in range(kills):
            await run.reached(0.2 * (kill + 1))
            await asyncio.to_thread(pipeline.services.kill, service)
            await pipeline.start(service)
        verdict = await run.finish(notifier_deaths=kills if service == "notifier" else 0)
    assert verdict.faults() == {}


async def test_consumers_frozen_past_their_leases_do_no_harm(pipeline: Pipeline) -> None:
    """SIGSTOP of all for 17 s, each in the midst of its work: what they do afterwards changes nothing."""
    async with trial(pipeline, orders=300, concurrency=10) as run:
        await run.reached(0.3)
        async with AsyncExitStack() as stack:
            for service in CONSUMERS:
                await stack.enter_async_context(frozen(pipeline.services.pid(service)))
            await delay(FROZEN_SECONDS)
        verdict = await run.finish(notifier_deaths=1)
    assert verdict.faults() == {}


@pytest.mark.parametrize("service", CONSUMERS)
async def test_sigterm_under_load_drains_without_a_single_redelivery(
    pipeline: Pipeline, service: str
) -> None:
    """What had arrived is finished before the process ends, so that nothing is delivered twice."""

    async with trial(pipeline, orders=600, concurrency=20) as run:
        await run.reached(0.4)
        await pipeline.stop(service)
        await pipeline.start(service)
        verdict = await run.finish()
    assert verdict.faults() == {}
    assert await metric_of(pipeline, service, "deliveries_redelivered_total") == 0


async def test_orders_cancelled_while_they_are_decided_end_in_one_way(pipeline: Pipeline) -> None:
    """The queue's leader and the processor die meanwhile: each is cancelled or rejected, as its client was
    told, all stock is back, and each event has one line.
    """
    leader = await leader_of(pipeline, ORDER_PROCESSOR.queue)
    async with trial(pipeline, orders=1_000, concurrency=20) as run:
        cancelling = asyncio.create_task(run.cancel_all())
        await run.reached(0.2)
        await asyncio.to_thread(pipeline.cluster.kill, leader)
        await run.reached(0.5)
        await asyncio.to_thread(pipeline.services.kill, ORDER_PROCESSOR.service)
        await pipeline.start(ORDER_PROCESSOR.service)
        verdict = await run.verdict()
        answers = await cancelling
        assert await run.client.stock(run.sku) == run.orders // 2
    assert verdict.faults() == {}
    assert (verdict.repeated, verdict.changed_by_hand) == ([], [])
    told = list(answers.values())
    assert (verdict.orders, verdict.cancelled) == (run.orders, told.count(True))
    assert verdict.rejected == told.count(False)
    assert verdict.cancelled > run.orders // 2
