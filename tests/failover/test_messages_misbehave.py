"""Messages come twice, late, in any order, or are poison; links are cut at the worst moment."""

import asyncio
import random
import time

import pytest

from api_gateway.intake import placed_message
from shared.messages import Order, OrderItem, Trace
from shared.messaging.ports import OutgoingMessage
from shared.pipeline import CONSUMPTIONS, ORDERS_EXCHANGE
from shared.service.infrastructure import ClusterInfrastructure
from shared.service.lifecycle import running
from tests.harness.brokers import management
from tests.harness.client import gateway_client
from tests.harness.evidence import store_of, verdict_on, wait_until_settled
from tests.harness.proxy import link_to
from tests.harness.running import Pipeline, metric_of, settings_of
from tests.harness.trial import trial
from tests.harness.waiting import wait_until

pytestmark = [pytest.mark.failover, pytest.mark.timeout(180)]

SEED = 20_261


async def publish(pipeline: Pipeline, messages: list[OutgoingMessage]) -> None:
    """Publishes each, with its confirm."""
    infrastructure = ClusterInfrastructure(settings_of(pipeline.cluster))
    publisher = infrastructure.publisher("misbehaving", timeout_seconds=10.0)
    async with running(publisher.run()):
        await publisher.wait_ready()
        await asyncio.gather(*(publisher.publish(message) for message in messages))


async def test_every_message_republished_up_to_five_times_and_shuffled(pipeline: Pipeline) -> None:
    """Duplicates and disorder decide nothing twice and tell nobody twice."""
    async with trial(pipeline, orders=200, concurrency=20) as run:
        verdict = await run.finish()
        assert verdict.faults() == {}
        random_ = random.Random(SEED)
        async with store_of(pipeline) as redis:
            accepted_at = {
                f"{run.prefix}{n}": int(await redis.hget(f"order:{run.prefix}{n}", "accepted_at"))
                for n in range(run.orders)
            }
            copies = [
                placed_message(
                    Order(id=order_id, items=(OrderItem(sku=run.sku, qty=1),)),
                    at,
                    Trace(correlation_id="again"),
                )
                for order_id, at in accepted_at.items()
                for _ in range(random_.randint(1, 5))
            ]
            random_.shuffle(copies)
            decided = await redis.get("orders.processed.count")
            await publish(pipeline, copies)

            async def consumed() -> bool:
                shown = [await management(pipeline, f"queues/%2F/{each.queue}") for each in CONSUMPTIONS]
                return all(queue.get("messages", 0) == 0 for queue in shown)

            await wait_until(consumed, what="every copy consumed")
            assert await redis.get("orders.processed.count") == decided
        assert (await verdict_on(pipeline, run.client.books, run.prefix)).faults() == {}


def placed_with(body: bytes) -> OutgoingMessage:
    """A message on the way of placed orders, whatever is in it."""
    return OutgoingMessage(exchange=ORDERS_EXCHANGE.name, routing_key="order.placed", body=body)


async def test_poison_goes_to_the_dead_letters_and_hurts_no_neighbour(pipeline: Pipeline) -> None:
    """Bad JSON, a wrong schema and a broken stock entry are dead-lettered with their reasons."""
    name = f"poison{time.time_ns()}-"
    before = await dead_letters(pipeline)
    good = Order(id=f"{name}good", items=(OrderItem(sku=f"{name}sku", qty=1),))
    broken = Order(id=f"{name}broken", items=(OrderItem(sku=f"{name}broken", qty=1),))
    async with gateway_client(pipeline.gateway_url) as client, store_of(pipeline) as redis:
        await client.set_stock(f"{name}sku", 10)
        await redis.set(f"inventory:{name}broken", "1e3")
        assert (await client.place(_json(good))).status == 202
        await publish(
            pipeline,
            [
                placed_with(b"{not json"),
                placed_with(b'{"specversion":"1.0","type":"order.placed.v1"}'),
                placed_with(b'{"specversion":"1.0","type":"order.unheard.v9"}'),
            ],
        )
        assert (await client.place(_json(broken))).status == 202

        async def settled() -> bool:
            statuses = [await client.status(good.id), await client.status(broken.id)]
            return statuses == ["created", "dead"] and await dead_letters(pipeline) == before + 3

        await wait_until(settled, what="one created, one dead, three dead letters")
        shown = await client.request("GET", f"/orders/{broken.id}")
    assert shown.body["reason"] == "broken_stock"


async def test_a_link_cut_after_a_publish_and_before_its_confirm(pipeline: Pipeline) -> None:
    """The order is in the queue and the gateway does not know: it converges to one order all the same."""
    name = f"cut{time.time_ns()}-"
    cluster = pipeline.cluster
    async with link_to("127.0.0.1", cluster.ports["rabbitmq1.amqp"]) as (link, port):
        url = cluster.amqp_url("rabbitmq1").replace(f":{cluster.ports['rabbitmq1.amqp']}/", f":{port}/")
        await pipeline.stop("api_gateway")
        await pipeline.start("api_gateway", RABBITMQ_URLS=f"{url},{url}")
        try:
            async with gateway_client(pipeline.gateway_url) as client:
                await client.set_stock(f"{name}sku", 10)
                order = {"id": f"{name}1", "sku": f"{name}sku", "qty": 1}
                link.withhold_answers()
                placing = asyncio.create_task(client.place(order))
                await wait_until(lambda: link.withheld_bytes > 0, what="a confirm withheld")
                link.cut()
                first = await placing
                again = await client.place(order)
                await wait_until_settled(pipeline)
                verdict = await verdict_on(pipeline, client.books, name)
                left = await client.stock(f"{name}sku")
        finally:
            await pipeline.stop("api_gateway")
    assert (first.status, again.status) == (202, 409)
    assert verdict.faults() == {}
    assert (verdict.created, left) == (1, 9)


async def dead_letters(pipeline: Pipeline) -> float:
    """How many messages the running processor has dead-lettered."""
    return await metric_of(pipeline, "order_processor", "deliveries_settled_total", outcome="dead")


def _json(order: Order) -> dict[str, object]:
    return {"id": order.id, "items": [{"sku": item.sku, "qty": item.qty} for item in order.items]}
