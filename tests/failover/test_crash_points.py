"""Each service dies at each of its crash points, under load, again and again: nothing is lost or doubled."""

import asyncio

import pytest

from shared import keyspace
from shared.failpoints import FAILPOINTS
from shared.orders.model import OrderStatus
from tests.harness.crash_points import CRASHES, PAYING_CRASHES
from tests.harness.evidence import store_of
from tests.harness.running import Pipeline
from tests.harness.trial import trial
from tests.harness.waiting import wait_until

pytestmark = [pytest.mark.failover, pytest.mark.timeout(240)]

DEATHS = 2
MOST_HITS = 40
REACHED_ONCE_PER_BATCH = ("after_reserve", "after_event_confirm", "between_send_and_mark", "before_ack")


async def die_and_return(pipeline: Pipeline, service: str, failpoint: str) -> None:
    """Lets a service run into its failpoint, as often as wanted, and at last run without one."""
    await pipeline.stop(service)  # where it has been stopped before, nothing
    for death in range(DEATHS):
        hits = 1 if failpoint in REACHED_ONCE_PER_BATCH else MOST_HITS * (death + 1) // DEATHS
        await asyncio.to_thread(pipeline.services.start, service, {"FAILPOINT": f"{failpoint}:{hits}"})
        await wait_until(
            lambda: pipeline.services.pid(service) is None, what=f"{service} dead at {failpoint}"
        )
    await pipeline.start(service)


def test_every_crash_point_is_tried() -> None:
    """A crash point that no test dies at proves nothing."""
    assert {failpoint for _, failpoint in CRASHES} | set(PAYING_CRASHES) == set(FAILPOINTS)


@pytest.mark.parametrize(("service", "failpoint"), CRASHES, ids=str)
async def test_dying_at_a_crash_point_loses_and_doubles_nothing(
    pipeline: Pipeline, service: str, failpoint: str
) -> None:
    """Lost 0, double effects 0, oversold 0; a group of extra log lines per death between send and mark."""
    if (
        service != "api_gateway"
    ):  # clients of a stopped gateway wait for it; a worker could be done before it is stopped
        await pipeline.stop(service)
    async with trial(pipeline, orders=400, concurrency=20) as run:
        await die_and_return(pipeline, service, failpoint)
        verdict = await run.finish(notifier_deaths=DEATHS if failpoint == "between_send_and_mark" else 0)
    assert verdict.faults() == {}


async def _is_decided(pipeline: Pipeline) -> bool:
    async with store_of(pipeline) as redis:
        return not await redis.zcard(keyspace.orders_in(OrderStatus.ACCEPTED))


@pytest.mark.parametrize("failpoint", PAYING_CRASHES)
async def test_dying_while_money_moves_leaves_it_where_the_order_says(
    pipeline: Pipeline, failpoint: str
) -> None:
    """Taken once for each order that goes on, and for none that was cancelled."""
    await pipeline.stop("order_processor")  # so that all of them are there when it starts
    paying = {"PAYMENTS": "simulated"}
    async with trial(pipeline, orders=200, concurrency=20) as run:
        await run.reached(1.0)
        deadly = {**paying, "FAILPOINT": f"{failpoint}:20"}
        await asyncio.to_thread(pipeline.services.start, "order_processor", deadly)
        if failpoint == "after_void":
            await wait_until(lambda: _is_decided(pipeline), what="all of them decided")
        cancelling = asyncio.create_task(run.cancel_all()) if failpoint == "after_void" else None
        await wait_until(
            lambda: pipeline.services.pid("order_processor") is None, what=f"it is dead at {failpoint}"
        )
        await pipeline.start("order_processor", **paying)
        if cancelling is not None:
            await cancelling
        verdict = await run.verdict()
    await pipeline.stop("order_processor")
    await pipeline.start("order_processor")
    assert verdict.faults() == {}
    assert verdict.paid + verdict.cancelled >= 100
