"""The original's own session, and what its users would try next, over real brokers."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.harness.client import GatewayClient, gateway_client
from tests.harness.evidence import store_of, verdict_on, wait_until_settled
from tests.harness.pricing import price
from tests.harness.running import Pipeline
from tests.harness.waiting import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]


@pytest.fixture
async def client(pipeline: Pipeline) -> AsyncIterator[GatewayClient]:
    """A client of the running gateway."""
    async with gateway_client(pipeline.gateway_url) as speaking:
        yield speaking


@pytest.fixture
def name() -> str:
    """A prefix for ids and SKUs that no other test uses."""
    return f"t{time.time_ns()}-"


async def wait_decided(client: GatewayClient, order_id: str) -> str:
    """The order's final status."""

    async def decided() -> bool:
        return await client.status(order_id) in ("created", "rejected")

    await wait_until(decided, what=f"{order_id} decided")
    return str(await client.status(order_id))


async def metrics(pipeline: Pipeline, **parameters: str) -> Any:
    """What the dashboard shows to curl."""
    url = f"{pipeline.dashboard_url}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url, params=parameters) as answer:
        return await answer.json()


async def test_the_session_of_the_original(pipeline: Pipeline, client: GatewayClient, name: str) -> None:
    """Stock set by hand, an order, its duplicate, the claim, the stock, the notification, the metrics."""
    sku, order_id = f"{name}case", f"{name}order123"
    async with store_of(pipeline) as redis:
        await redis.set(f"inventory:{sku}", 100)
        first = await client.place({"id": order_id, "sku": sku, "qty": 2})
        again = await client.place({"id": order_id, "sku": sku, "qty": 2})
        assert (first.status, first.body["message"]) == (202, f"Order received: {order_id}")
        assert (again.status, again.body["title"]) == (409, "Duplicate order")
        assert await redis.ttl(f"idemp:{order_id}") > 0
        assert await wait_decided(client, order_id) == "created"
        assert await redis.get(f"inventory:{sku}") == "98"

        async def sent() -> bool:
            return bool(await redis.hget(f"notifications:{order_id}", "status") == "sent")

        await wait_until(sent, what="the notification sent")
    shown = await metrics(pipeline, sku=sku, order_id=order_id)
    assert (shown["inventory_level"], shown["notification_status"]) == (98, "sent")


async def test_what_the_answer_says_is_what_the_letter_says_while_a_price_changes(
    pipeline: Pipeline, client: GatewayClient, name: str
) -> None:
    """A thousand buyers and a hundred prices: each order has exactly one of them, wherever it is read."""
    sku, other = f"{name}cable", f"{name}case"
    await client.set_stock(sku, 1_500)
    await client.set_stock(other, 1_000)
    async with store_of(pipeline) as redis:
        await price(redis, sku, 1_000)
        await price(redis, other, 300)
        items = [{"sku": sku, "qty": 2}, {"sku": other, "qty": 1}]
        orders = [{"id": f"{name}{number}", "items": items} for number in range(1_000)]
        placing = asyncio.create_task(client.place_many(orders, 20))
        for amount in range(1_001, 1_101):
            known = len(client.books.acknowledged)
            await price(redis, sku, amount)
            await wait_until(
                lambda known=known: placing.done() or len(client.books.acknowledged) >= known + 5
            )
        answers = await placing
    assert {answer.status for answer in answers} == {202}
    await wait_until_settled(pipeline)
    verdict = await verdict_on(pipeline, client.books, name)
    assert verdict.faults() == {}
    totals = [cost.amount_total for cost in client.books.costs.values()]
    assert {cost.currency for cost in client.books.costs.values()} == {"EUR"}
    assert set(totals) <= {2 * amount + 300 for amount in range(1_000, 1_101)}
    assert len(set(totals)) > 20
    assert 0 < verdict.amounts["EUR"] < sum(total for total in totals if total)  # a quarter is out of stock


async def test_ten_thousand_buyers_for_a_hundred_units(
    pipeline: Pipeline, client: GatewayClient, name: str
) -> None:
    """Exactly 100 are created, 9,900 rejected, and nothing is left."""
    sku = f"{name}rare"
    await client.set_stock(sku, 100)
    await client.place_many([{"id": f"{name}{n}", "sku": sku, "qty": 1} for n in range(10_000)], 150)
    await wait_until_settled(pipeline)
    verdict = await verdict_on(pipeline, client.books, name)
    assert verdict.faults() == {}
    assert (verdict.created, verdict.rejected, await client.stock(sku)) == (100, 9_900, 0)


async def test_a_hundred_keys_raced_by_fifty_posts_each(
    pipeline: Pipeline, client: GatewayClient, name: str
) -> None:
    """One order per key, whoever wins, and every loser is told the same. Ten keys at a time: 500 posts."""
    sku = f"{name}raced"
    await client.set_stock(sku, 1_000)

    async def post(key: str) -> tuple[str, str, int]:
        answer = await client.request(
            "POST", "/orders", json={"sku": sku, "qty": 1}, headers={"Idempotency-Key": key}
        )
        return key, answer.body["id"], answer.status

    answers: list[tuple[str, str, int]] = []
    for first in range(0, 100, 10):
        keys = [f"{name}key{first + n}" for n in range(10)]
        answers += await asyncio.gather(*(post(key) for key in keys for _ in range(50)))
    await wait_until_settled(pipeline)
    assert {status for _, _, status in answers} == {202}
    assert len({order_id for _, order_id, _ in answers}) == 100
    assert len({(key, order_id) for key, order_id, _ in answers}) == 100
    assert await client.stock(sku) == 900


async def test_an_order_of_which_one_item_is_short_takes_nothing(client: GatewayClient, name: str) -> None:
    """All or nothing, also when the other items would have been there."""
    plenty, short = f"{name}plenty", f"{name}short"
    await client.set_stock(plenty, 10)
    await client.set_stock(short, 1)
    items = [{"sku": plenty, "qty": 3}, {"sku": short, "qty": 2}]
    await client.place({"id": f"{name}both", "items": items})
    assert await wait_decided(client, f"{name}both") == "rejected"
    order = await client.request("GET", f"/orders/{name}both")
    assert (order.body["reason"], order.body["sku"]) == ("insufficient_stock", short)
    assert (await client.stock(plenty), await client.stock(short)) == (10, 1)


async def test_orders_accepted_while_no_processor_runs_are_processed_later(
    pipeline: Pipeline, client: GatewayClient, name: str
) -> None:
    """A backlog waits in the queue and drains when the processor is back."""
    sku = f"{name}backlog"
    await client.set_stock(sku, 500)
    await pipeline.stop("order_processor")
    await client.place_many([{"id": f"{name}{n}", "sku": sku, "qty": 1} for n in range(300)], 50)
    assert await client.status(f"{name}0") == "accepted"
    await pipeline.start("order_processor")
    await wait_until_settled(pipeline)
    assert (await verdict_on(pipeline, client.books, name)).faults() == {}
    assert await client.stock(sku) == 200


async def test_with_all_brokers_stopped_orders_wait_in_the_outbox(
    pipeline: Pipeline, client: GatewayClient, name: str
) -> None:
    """202 from the outbox while no broker is up; everything is delivered once they return."""
    sku = f"{name}outbox"
    await client.set_stock(sku, 100)
    nodes = ("rabbitmq1", "rabbitmq2", "rabbitmq3")
    await asyncio.gather(*(asyncio.to_thread(pipeline.cluster.stop_part, node) for node in nodes))
    answers = [await client.place({"id": f"{name}{n}", "sku": sku, "qty": 1}) for n in range(50)]
    assert {answer.status for answer in answers} == {202}
    assert sorted(answer.seconds for answer in answers)[25] < 1.0
    await asyncio.to_thread(pipeline.cluster.start)
    await wait_until_settled(pipeline)
    assert (await verdict_on(pipeline, client.books, name)).faults() == {}
    assert await client.stock(sku) == 50


async def test_with_redis_stopped_the_gateway_refuses_in_time_and_resumes_by_itself(
    pipeline: Pipeline, client: GatewayClient, name: str
) -> None:
    """503 with Retry-After within the deadline; afterwards the same id is accepted."""
    sku = f"{name}store"
    await client.set_stock(sku, 10)
    await asyncio.to_thread(pipeline.cluster.stop_part, "redis")
    refused = await client.place({"id": f"{name}1", "sku": sku, "qty": 1})
    assert refused.status == 503
    assert "Retry-After" in refused.headers
    assert refused.seconds < 5.0
    await asyncio.to_thread(pipeline.cluster.start)
    accepted = await client.place_until_known({"id": f"{name}1", "sku": sku, "qty": 1})
    assert accepted.status in (202, 409)
    assert await wait_decided(client, f"{name}1") == "created"
    assert await client.stock(sku) == 9
