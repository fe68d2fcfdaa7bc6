"""More than the gateway may take: it says so at once, and what it has accepted is unharmed."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator

import pytest

from tests.harness.client import gateway_client
from tests.harness.evidence import verdict_on, wait_until_settled
from tests.harness.running import Pipeline

pytestmark = [pytest.mark.failover, pytest.mark.timeout(180)]

HARD_LIMIT_SECONDS = 5.0
NOWHERE = "amqp://guest:guest@127.0.0.1:1/,amqp://guest:guest@127.0.0.1:2/"


@pytest.fixture
async def limited(pipeline: Pipeline) -> AsyncIterator[Pipeline]:
    """A pipeline whose gateway the test starts with limits of its own."""
    await pipeline.stop("api_gateway")
    yield pipeline
    await pipeline.stop("api_gateway")


async def test_past_the_concurrency_limit_requests_are_turned_away_at_once(limited: Pipeline) -> None:
    """503 with Retry-After for those that do not fit; asked again, every order gets through."""
    await limited.start("api_gateway", GATEWAY_MAX_CONCURRENT_REQUESTS="4")
    name = f"busy{time.time_ns()}-"
    orders = [{"id": f"{name}{n}", "sku": f"{name}sku", "qty": 1} for n in range(300)]
    async with gateway_client(limited.gateway_url, connections=250) as client:
        await client.set_stock(f"{name}sku", 300)
        answers = await asyncio.gather(*(client.place(order) for order in orders))
        refused = [answer for answer in answers if answer.status == 503]
        assert {answer.status for answer in answers} == {202, 503}
        assert all("Retry-After" in answer.headers for answer in refused)
        assert max(answer.seconds for answer in refused) < HARD_LIMIT_SECONDS
        assert statistics.median(answer.seconds for answer in refused) < HARD_LIMIT_SECONDS / 2
        await client.place_many(orders, 4)
        await wait_until_settled(limited)
        verdict = await verdict_on(limited, client.books, name)
    assert verdict.faults() == {}
    assert verdict.created == 300


async def test_past_the_outbox_bound_nothing_is_accepted(limited: Pipeline) -> None:
    """With no broker in reach the outbox fills; then 503, and no trace of the order that was refused."""
    await limited.start("api_gateway", GATEWAY_OUTBOX_LIMIT="20", RABBITMQ_URLS=NOWHERE)
    name = f"full{time.time_ns()}-"
    async with gateway_client(limited.gateway_url) as client:
        await client.set_stock(f"{name}sku", 100)
        answers = [await client.place({"id": f"{name}{n}", "sku": f"{name}sku", "qty": 1}) for n in range(25)]
        assert [answer.status for answer in answers] == [202] * 20 + [503] * 5
        assert await client.status(f"{name}24") is None
    await limited.stop("api_gateway")
    await limited.start("api_gateway")
    async with gateway_client(limited.gateway_url) as again:
        again.books = client.books
        await wait_until_settled(limited)
        verdict = await verdict_on(limited, client.books, name)
        assert (verdict.faults(), verdict.created) == ({}, 20)
        assert await again.stock(f"{name}sku") == 80
