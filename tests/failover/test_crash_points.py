"""Each service dies at each of its crash points, under load, again and again: nothing is lost or doubled."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from orderctl.oracle import Verdict
from shared.failpoints import FAILPOINTS
from tests.harness.client import GatewayClient, gateway_client
from tests.harness.evidence import notifications_in_log, verdict_on, wait_until_settled
from tests.harness.running import Pipeline
from tests.harness.waiting import wait_until

pytestmark = [pytest.mark.failover, pytest.mark.timeout(240)]

ORDERS = 400
CONCURRENCY = 20
DEATHS = 3
HITS_BETWEEN_DEATHS = 40
REACHED_ONCE_PER_BATCH = ("after_reserve", "before_ack")

CRASHES = [
    ("api_gateway", "after_accept"),
    ("api_gateway", "after_publish_sent"),
    ("api_gateway", "after_confirm"),
    ("api_gateway", "before_202"),
    ("order_processor", "after_reserve"),
    ("order_processor", "after_event_confirm"),
    ("order_processor", "before_ack"),
    ("notifier", "between_send_and_mark"),
    ("notifier", "before_ack"),
]


def orders_for(prefix: str, count: int) -> Sequence[dict[str, Any]]:
    """Orders for one piece each of a SKU of their own."""
    return [{"id": f"{prefix}{number}", "sku": f"{prefix}sku", "qty": 1} for number in range(count)]


async def die_and_return(pipeline: Pipeline, service: str, failpoint: str, deaths: int) -> None:
    """Lets a service run into its failpoint, as often as wanted, and at last run without one."""
    await pipeline.stop(service)
    for death in range(deaths):
        hits = 1 if failpoint in REACHED_ONCE_PER_BATCH else HITS_BETWEEN_DEATHS * (death + 1) // deaths
        await asyncio.to_thread(pipeline.services.start, service, {"FAILPOINT": f"{failpoint}:{hits}"})
        await wait_until(
            lambda: pipeline.services.pid(service) is None, what=f"{service} dead at {failpoint}"
        )
    await pipeline.start(service)


async def run_with_deaths(
    pipeline: Pipeline, client: GatewayClient, prefix: str, service: str, failpoint: str
) -> Verdict:
    """Load, deaths in the middle of it, and the verdict once everything is settled."""
    await client.set_stock(f"{prefix}sku", ORDERS // 2)
    load = asyncio.create_task(client.place_many(orders_for(prefix, ORDERS), CONCURRENCY))
    await die_and_return(pipeline, service, failpoint, DEATHS)
    await load
    await wait_until_settled(pipeline)
    return await verdict_on(pipeline, client.books, prefix)


def test_every_crash_point_is_tried() -> None:
    """A crash point that no test dies at proves nothing."""
    assert {failpoint for _, failpoint in CRASHES} == set(FAILPOINTS)


@pytest.mark.parametrize(("service", "failpoint"), CRASHES, ids=str)
async def test_dying_at_a_crash_point_loses_and_doubles_nothing(
    pipeline: Pipeline, service: str, failpoint: str
) -> None:
    """Lost 0, double effects 0, oversold 0; one extra notification per death between send and mark."""
    prefix = f"crash{time.time_ns()}-"
    async with gateway_client(pipeline.gateway_url) as client:
        verdict = await run_with_deaths(pipeline, client, prefix, service, failpoint)
    repeated = verdict.duplicated if failpoint == "between_send_and_mark" else []
    told = notifications_in_log(pipeline.cluster.layout.log("notifier"))
    extra = sum(times - 1 for event, times in told.items() if event.startswith(prefix))
    faults = {kind: orders for kind, orders in verdict.faults().items() if orders != repeated}
    assert faults == {}
    assert extra <= (DEATHS if failpoint == "between_send_and_mark" else 0)
    assert (verdict.created, verdict.rejected) == (ORDERS // 2, ORDERS // 2)
