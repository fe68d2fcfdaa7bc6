"""Dead letters end to end: orders that died on the real cluster, and what an operator does about them."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiormq
import pytest

from orderctl.native import processes
from shared import keyspace
from shared.pipeline import NOTIFIER, ORDER_PROCESSOR
from tests.harness.brokers import purge
from tests.harness.client import GatewayClient, gateway_client
from tests.harness.evidence import notifications_in_log, store_of, verdict_on, wait_until_settled
from tests.harness.running import Pipeline
from tests.harness.waiting import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]

BROKEN = "1e3"
"""`tonumber` would take it, and DECRBY would not."""


@pytest.fixture
async def client(pipeline: Pipeline) -> AsyncIterator[GatewayClient]:
    """A client of the running gateway, with no letters left over from the test before."""
    await empty(pipeline)
    async with gateway_client(pipeline.gateway_url) as speaking:
        yield speaking
    await empty(pipeline)


@pytest.fixture
async def dashboard(pipeline: Pipeline) -> AsyncIterator[GatewayClient]:
    """A client of the running dashboard."""
    async with gateway_client(pipeline.dashboard_url) as speaking:
        yield speaking


@pytest.fixture
def name() -> str:
    """A prefix for ids and SKUs that no other test uses."""
    return f"d{time.time_ns()}-"


async def empty(pipeline: Pipeline) -> None:
    """Takes every dead letter away."""
    await purge(pipeline.cluster.rabbitmq_urls[0], ORDER_PROCESSOR.dead_queue, NOTIFIER.dead_queue)


async def bury(pipeline: Pipeline, body: bytes) -> None:
    """Puts one more copy of a message into the orders' dead letters."""
    connection = await aiormq.connect(pipeline.cluster.rabbitmq_urls[0])
    channel = await connection.channel()
    properties = aiormq.spec.Basic.Properties(delivery_mode=2)
    await channel.basic_publish(body, routing_key=ORDER_PROCESSOR.dead_queue, properties=properties)
    await connection.close()


async def break_stock(pipeline: Pipeline, sku: str) -> None:
    """What an operator's slip leaves behind."""
    async with store_of(pipeline) as redis:
        await redis.set(keyspace.inventory(sku), BROKEN)


async def wait_for(client: GatewayClient, order_id: str, *statuses: str) -> Mapping[str, Any]:
    """The order as the gateway shows it, once it has one of these statuses."""

    async def arrived() -> bool:
        return await client.status(order_id) in statuses

    await wait_until(arrived, what=f"{order_id} {statuses}")
    shown: Mapping[str, Any] = (await client.request("GET", f"/orders/{order_id}")).body
    return shown


async def die(pipeline: Pipeline, client: GatewayClient, sku: str, *order_ids: str) -> None:
    """Places orders that cannot be decided, and waits until they are dead and their letters lie there.

    An order is said to be dead a moment before its message is moved.
    """
    await break_stock(pipeline, sku)
    for order_id in order_ids:
        assert (await client.place({"id": order_id, "sku": sku, "qty": 2})).status == 202
    for order_id in order_ids:
        await wait_for(client, order_id, "dead")
    async with gateway_client(pipeline.dashboard_url) as dashboard:

        async def moved() -> bool:
            return set(order_ids) <= set(await letters(dashboard))

        await wait_until(moved, what="the letters in their queue")


async def act(dashboard: GatewayClient, action: str, **body: Any) -> Mapping[str, Any]:
    """Asks the dashboard for an action."""
    answer = await dashboard.request("POST", f"/dead/{action}", json=body)
    assert answer.status == 200, answer
    result: Mapping[str, Any] = answer.body
    return result


async def letters(dashboard: GatewayClient) -> list[str]:
    """The orders whose letters lie there, in their order."""
    answer = await dashboard.request("GET", "/dead?limit=1000")
    assert answer.status == 200, answer
    return [letter["order_id"] for letter in answer.body["letters"]]


async def decided(pipeline: Pipeline) -> int:
    """How many orders have been decided."""
    async with store_of(pipeline) as redis:
        return int(await redis.get(keyspace.PROCESSED_COUNT) or 0)


def told(pipeline: Pipeline, prefix: str) -> Counter[str]:
    """How often customers of these orders were told what."""
    seen = notifications_in_log(pipeline.cluster.layout.log("notifier"))
    return Counter({event: count for event, count in seen.items() if event.startswith(prefix)})


async def test_an_order_that_died_is_redriven_to_its_end_once(
    pipeline: Pipeline, client: GatewayClient, dashboard: GatewayClient, name: str
) -> None:
    """Dead with its reason; stock repaired; redriven, created; redriven again, and nothing changes."""
    sku, order_id = f"{name}case", f"{name}1"
    await die(pipeline, client, sku, order_id)
    order = await wait_for(client, order_id, "dead")
    assert (order["reason"], order["next_attempt_at"]) == ("broken_stock", None)
    letter = (await dashboard.request("GET", f"/dead/{order_id}")).body
    assert (letter["queue"], letter["reason"], letter["skus"]) == ("orders.dead", "broken_stock", [sku])

    await client.set_stock(sku, 10)
    assert (await act(dashboard, "redrive", ids=[letter["id"]]))["done"] == 1
    order = await wait_for(client, order_id, "created")
    assert await client.stock(sku) == 8
    await wait_until_settled(pipeline)
    order = await wait_for(client, order_id, "created")
    steps = [step["step"] for step in order["timeline"]]
    assert steps == ["accepted", "dead", "redriven", "created", "notified"]

    assert (await act(dashboard, "redrive", all=True))["matched"] == 0
    await bury(pipeline, json.dumps(letter["body"]).encode())
    assert (await act(dashboard, "redrive", ids=[letter["id"]]))["done"] == 1
    await wait_until_settled(pipeline)
    assert await letters(dashboard) == []
    assert (await wait_for(client, order_id, "created"))["timeline"] == order["timeline"]
    assert await client.stock(sku) == 8
    assert told(pipeline, name) == {f"{order_id}:order.created.v1": 1}
    assert (await verdict_on(pipeline, client.books, name)).faults() == {}


async def test_a_dropped_order_ends_as_rejected_and_its_customer_is_told(
    pipeline: Pipeline, client: GatewayClient, dashboard: GatewayClient, name: str
) -> None:
    """As one order among others: it has its number, its time and its notification."""
    sku, order_id = f"{name}case", f"{name}1"
    await die(pipeline, client, sku, order_id)
    dry = await act(dashboard, "drop", ids=[order_id], dry_run=True)
    assert (dry["matched"], dry["done"], await letters(dashboard)) == (1, 0, [order_id])
    assert (await act(dashboard, "drop", ids=[order_id]))["done"] == 1
    order = await wait_for(client, order_id, "rejected")
    assert (order["reason"], order["decided_at"] is not None) == ("dropped", True)
    await wait_until(lambda: told(pipeline, name) == {f"{order_id}:order.rejected.v1": 1}, what="told")
    await wait_until_settled(pipeline)
    await client.set_stock(sku, 10)
    assert (await verdict_on(pipeline, client.books, name)).faults() == {}
    assert await client.stock(sku) == 10


async def test_looking_loses_nothing_and_keeps_the_order(
    pipeline: Pipeline, client: GatewayClient, dashboard: GatewayClient, name: str
) -> None:
    """Thirty looks, whole and at one letter, by several at a time."""
    orders = [f"{name}{number}" for number in range(8)]
    await die(pipeline, client, f"{name}case", *orders)
    before = await letters(dashboard)
    assert sorted(before) == orders
    for _ in range(6):
        looks = [dashboard.request("GET", path) for path in ("/dead?limit=2", f"/dead/{orders[5]}") * 2]
        assert {answer.status for answer in await asyncio.gather(*looks)} == {200}
    assert await letters(dashboard) == before


async def test_a_redriven_message_that_fails_again_tells_its_history(
    pipeline: Pipeline, client: GatewayClient, dashboard: GatewayClient, name: str
) -> None:
    """How often it was redriven, and what it had died of."""
    order_id = f"{name}1"
    await die(pipeline, client, f"{name}case", order_id)
    await act(dashboard, "redrive", ids=[order_id])

    async def is_back() -> bool:
        return await letters(dashboard) == [order_id]

    await wait_until(is_back, what="the letter back")
    letter = (await dashboard.request("GET", f"/dead/{order_id}")).body
    assert (letter["redriven"], letter["previous_reason"], letter["attempts"]) == (1, "broken_stock", 1)
    assert letter["first_failed_at"] < letter["redriven_at"] < letter["last_failed_at"]
    order = await wait_for(client, order_id, "dead")
    assert [step["step"] for step in order["timeline"]] == ["accepted", "dead", "redriven", "dead"]


async def test_while_its_consumer_is_away_a_redriven_order_is_retrying(
    pipeline: Pipeline, client: GatewayClient, dashboard: GatewayClient, name: str
) -> None:
    """The gateway shows it as such, with the time of its next attempt."""
    sku, order_id = f"{name}case", f"{name}1"
    await die(pipeline, client, sku, order_id)
    await client.set_stock(sku, 10)
    await pipeline.stop("order_processor")
    await act(dashboard, "redrive", ids=[order_id])
    order = await wait_for(client, order_id, "retrying")
    assert order["next_attempt_at"] is not None
    await pipeline.start("order_processor")
    await wait_for(client, order_id, "created")


async def test_concurrent_redrives_of_many_have_their_effect_once(
    pipeline: Pipeline, client: GatewayClient, dashboard: GatewayClient, name: str
) -> None:
    """Five operators press the same button.

    A letter may count for two of them, because dead lettering and acks are at least once; its effect is one.
    """
    sku, orders = f"{name}case", [f"{name}{number}" for number in range(60)]
    await die(pipeline, client, sku, *orders)
    await client.set_stock(sku, 1_000)
    results = await asyncio.gather(*(act(dashboard, "redrive", all=True) for _ in range(5)))
    assert sum(result["done"] for result in results) >= len(orders)
    assert await letters(dashboard) == []
    await wait_until_settled(pipeline)
    verdict = await verdict_on(pipeline, client.books, name)
    assert (verdict.faults(), verdict.created, await client.stock(sku)) == ({}, 60, 880)
    assert set(told(pipeline, name).values()) == {1}


@pytest.mark.parametrize("action", ["redrive", "drop"])
async def test_a_dashboard_killed_in_the_middle_is_made_good_by_asking_again(
    pipeline: Pipeline, client: GatewayClient, dashboard: GatewayClient, name: str, action: str
) -> None:
    """Wherever SIGKILL met it: each order decided once, each customer told once, no letter left."""
    sku, orders = f"{name}case", [f"{name}{number}" for number in range(300)]
    await break_stock(pipeline, sku)
    await client.place_many([{"id": order_id, "sku": sku, "qty": 1} for order_id in orders], 50)

    async def all_dead() -> bool:
        return set(await letters(dashboard)) == set(orders)

    await wait_until(all_dead, what="all orders dead")
    await client.set_stock(sku, 1_000)
    cut_off = 0
    for _ in range(3):
        before = await decided(pipeline)
        acting = asyncio.create_task(dashboard.request("POST", f"/dead/{action}", json={"all": True}))

        async def is_under_way(before: int = before, acting: "asyncio.Task[Any]" = acting) -> bool:
            return acting.done() or await decided(pipeline) > before

        await wait_until(is_under_way, what="the first orders decided")
        record = pipeline.services.running("dashboard")
        assert record is not None
        await asyncio.to_thread(processes.kill, record)
        await asyncio.gather(acting, return_exceptions=True)
        cut_off += acting.exception() is not None
        await pipeline.start("dashboard")
    assert cut_off

    async def none_left() -> bool:
        answer = await dashboard.request("POST", f"/dead/{action}", json={"all": True})
        return answer.status == 200 and answer.body["matched"] == 0 and answer.body["complete"]

    await wait_until(none_left, what="no letter left", timeout_seconds=60)
    await wait_until_settled(pipeline)
    verdict = await verdict_on(pipeline, client.books, name)
    assert verdict.faults() == {}
    ended, stock = ((300, 0), 700) if action == "redrive" else ((0, 300), 1_000)
    assert ((verdict.created, verdict.rejected), await client.stock(sku)) == (ended, stock)
    assert (len(told(pipeline, name)), set(told(pipeline, name).values())) == (300, {1})
