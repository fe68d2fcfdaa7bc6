"""Two versions of an event and of the services, side by side on the real queues: all told, nothing twice."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.harness.client import gateway_client
from tests.harness.evidence import verdict_on, wait_until_settled
from tests.harness.running import Pipeline, metric_of
from tests.harness.stores import free_port
from tests.harness.waiting import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]

ORDERS = 150


@asynccontextmanager
async def next_version_of(pipeline: Pipeline, name: str, prefix: str) -> AsyncIterator[str]:
    """Such a service, in which the second version is planted, and its operations port; ready in the block.

    It logs to the file to which the first version logs.
    """
    port = free_port()
    settings = pipeline.services.settings(name) | {f"{prefix}_OPS_PORT": str(port)}
    with pipeline.cluster.layout.log(name).open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.harness.second_version", name),
            env={**os.environ, **settings, "LOG_FORMAT": "json"},
            stdout=log,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        async with gateway_client(url) as client:

            async def is_ready() -> bool:
                try:
                    return (await client.request("GET", "/readyz")).status == 200
                except OSError:
                    return False

            await wait_until(is_ready, what=f"the next version of {name} to be ready")
            yield url
    finally:
        process.terminate()
        assert await process.wait() == 0


async def test_versions_run_side_by_side(pipeline: Pipeline) -> None:
    """Both notifiers take from one queue: first what the old publisher sends, then both versions of it."""
    prefix = f"v{time.time_ns()}-"
    async with gateway_client(pipeline.gateway_url) as client:
        await client.set_stock(f"{prefix}case", 2 * ORDERS)
        orders = [{"id": f"{prefix}{n}", "sku": f"{prefix}case", "qty": 1} for n in range(2 * ORDERS)]
        async with next_version_of(pipeline, "notifier", "NOTIFIER") as newer:
            await client.place_many(orders[:ORDERS], 20)
            await wait_until_settled(pipeline)
            read = await handled(newer, "done")
            assert 0 < read < ORDERS, "both have taken their share, of the first version alone"
            await pipeline.stop("order_processor")
            async with next_version_of(pipeline, "order_processor", "PROCESSOR"):
                await client.place_many(orders[ORDERS:], 20)
                await wait_until_settled(pipeline)
            assert await handled(newer, "done") > read
            assert await metric_of(pipeline, "notifier", "deliveries_settled_total", outcome="unknown_type")
        verdict = await verdict_on(pipeline, client.books, prefix)
    assert verdict.faults() == {}
    assert verdict.created == 2 * ORDERS


async def handled(url: str, outcome: str) -> float:
    """How many events came to this, by the service's own metrics."""
    async with gateway_client(url) as client:
        text = str((await client.request("GET", "/metrics")).body)
    wanted = f'deliveries_settled_total{{outcome="{outcome}"'
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(wanted))
