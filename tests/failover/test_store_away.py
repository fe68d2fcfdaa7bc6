"""Redis dies, freezes and fills up under load."""

import asyncio
import contextlib

import aiohttp
import pytest

from tests.harness.brokers import frozen_part
from tests.harness.client import gateway_client
from tests.harness.evidence import store_of
from tests.harness.running import Pipeline
from tests.harness.trial import trial
from tests.harness.waiting import wait_until

pytestmark = [pytest.mark.failover, pytest.mark.timeout(240)]

REFUSAL_SECONDS = 3.0


async def refused_in_time(run_id: str, pipeline: Pipeline) -> None:
    """A new order is answered 503 with a date to ask again, within the deadline."""
    async with gateway_client(pipeline.gateway_url) as client:
        answer = await client.place({"id": f"{run_id}refused", "sku": "none", "qty": 1})
    assert answer.status == 503
    assert "Retry-After" in answer.headers
    assert answer.seconds < REFUSAL_SECONDS


async def test_redis_killed_under_load(pipeline: Pipeline) -> None:
    """SIGKILL and restart: what was acknowledged is there, and stock is conserved."""
    async with trial(pipeline, orders=600, concurrency=20) as run:
        await run.reached(0.3)
        await asyncio.to_thread(pipeline.cluster.kill, "redis")
        await refused_in_time(run.prefix.replace("trial", "other"), pipeline)
        await asyncio.to_thread(pipeline.cluster.start)
        verdict = await run.finish()
    assert verdict.faults() == {}


async def test_a_gateway_that_starts_while_redis_is_down_says_so(pipeline: Pipeline) -> None:
    """Clients get 503 instead of a closed port, and the same gateway takes orders once Redis is back."""
    await pipeline.stop("api_gateway")
    await asyncio.to_thread(pipeline.cluster.kill, "redis")
    await asyncio.to_thread(pipeline.services.start, "api_gateway")

    async def is_open() -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            await refused_in_time("early-", pipeline)
            return True
        return False

    await wait_until(is_open, what="an open port")
    await asyncio.to_thread(pipeline.cluster.start)
    async with gateway_client(pipeline.gateway_url) as client:
        answer = await client.place_until_known({"id": "early-taken", "sku": "none", "qty": 1})
    assert answer.status == 202


async def test_redis_frozen_under_load(pipeline: Pipeline) -> None:
    """SIGSTOP: 503 in time; resumes by itself, and retried ids converge to one order each."""
    async with trial(pipeline, orders=300, concurrency=20) as run:
        await run.reached(0.3)
        async with frozen_part(pipeline, "redis"):
            await refused_in_time(run.prefix.replace("trial", "other"), pipeline)
        verdict = await run.finish()
    assert verdict.faults() == {}


async def test_redis_full_under_load(pipeline: Pipeline) -> None:
    """No memory left: 503 in time, nothing half written, and all goes on once there is room."""
    async with trial(pipeline, orders=300, concurrency=20) as run, store_of(pipeline) as redis:
        await run.reached(0.3)
        await redis.config_set("maxmemory", "1mb")
        try:
            await refused_in_time(run.prefix.replace("trial", "other"), pipeline)
        finally:
            await redis.config_set("maxmemory", "0")
        verdict = await run.finish()
    assert verdict.faults() == {}
