"""The queue's leader dies under load. This is what the pipeline is for."""

import asyncio
import json
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest

from shared.pipeline import ORDER_PROCESSOR
from tests.harness.client import gateway_client
from tests.harness.evidence import verdict_on, wait_until_settled
from tests.harness.running import Pipeline
from tests.harness.waiting import wait_until

pytestmark = [pytest.mark.failover, pytest.mark.timeout(240)]

ORDERS = 2_000
CONCURRENCY = 50


def leader_of(pipeline: Pipeline, queue: str) -> str:
    """The name under which we know the node that leads a queue."""
    for url in pipeline.cluster.rabbitmq_management_urls:
        scheme, _, rest = url.partition("://")
        credentials, _, address = rest.rpartition("@")
        user, _, password = credentials.partition(":")
        manager = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        manager.add_password(None, f"{scheme}://{address}", user, password)
        opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(manager))
        with opener.open(f"{scheme}://{address}/api/queues/%2F/{queue}", timeout=5) as answer:
            return str(json.load(answer)["leader"]).partition("@")[0]
    raise AssertionError("no management API answers")


def longest_gap(times: Sequence[float]) -> float:
    """The longest silence between two answers, in seconds."""
    return max((later - earlier for earlier, later in pairwise(sorted(times))), default=0.0)


async def test_no_order_is_lost_or_doubled_when_the_leader_of_the_queue_is_killed(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str], record_property: Callable[[str, object], None]
) -> None:
    """2,000 orders under load, SIGKILL of the leader in the middle: lost 0, doubled 0, oversold 0."""
    prefix = f"leader{time.time_ns() % 10**9}-"
    sku = f"{prefix}sku"
    orders = [{"id": f"{prefix}{number}", "sku": sku, "qty": 1} for number in range(ORDERS)]
    async with gateway_client(pipeline.gateway_url) as client:
        await client.set_stock(sku, ORDERS // 2)
        load = asyncio.create_task(client.place_many(orders, CONCURRENCY))
        await wait_until(lambda: len(client.books.acknowledged) >= ORDERS // 4, what="a quarter acknowledged")
        leader = leader_of(pipeline, ORDER_PROCESSOR.queue)
        await asyncio.to_thread(pipeline.cluster.kill, leader)
        await load
        await wait_until_settled(pipeline)
        verdict = await verdict_on(pipeline, client.books, prefix)
        available = await client.stock(sku)
    gap = longest_gap(client.books.acknowledged_at)
    record_property("publish_gap_seconds", gap)
    with capsys.disabled():
        sys.stdout.write(f"\n{leader}, the leader, killed under load: longest gap between 202s {gap:.2f} s\n")
    assert verdict.faults() == {}
    assert (verdict.orders, verdict.created, verdict.rejected) == (ORDERS, ORDERS // 2, ORDERS // 2)
    assert available == 0
