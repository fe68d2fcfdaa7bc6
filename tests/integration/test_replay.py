"""`orderctl replay` on the real brokers, store and ledger: what was told before changes nothing."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from tests.harness.client import GatewayClient, gateway_client
from tests.harness.evidence import store_of, verdict_on, wait_until_settled
from tests.harness.replaying import replay
from tests.harness.running import Pipeline, metric_of
from tests.harness.smtp_sink import LOOPBACK, SmtpSink, smtp_sink
from tests.harness.waiting import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]

CREATED, REJECTED = 3, 2


@pytest.fixture
async def sink(pipeline: Pipeline) -> AsyncIterator[SmtpSink]:
    """A mail server, and a notifier that mails."""
    async with smtp_sink() as serving:
        await pipeline.stop("notifier")
        settings = {"NOTIFIER_SENDER": "smtp", "NOTIFIER_MAIL_FROM": "orders@shop.example"}
        server = {"NOTIFIER_SMTP_HOST": LOOPBACK, "NOTIFIER_SMTP_PORT": str(serving.port)}
        await pipeline.start("notifier", **settings, **server, NOTIFIER_SMTP_TLS="off")
        yield serving
        await pipeline.stop("notifier")


@pytest.fixture
async def client(pipeline: Pipeline) -> AsyncIterator[GatewayClient]:
    """A client of the running gateway."""
    async with gateway_client(pipeline.gateway_url) as speaking:
        yield speaking


async def handled(pipeline: Pipeline, service: str) -> float:
    """How many events it has dealt with since it was started."""
    return await metric_of(pipeline, service, "deliveries_settled_total", outcome="done")


async def place_all(client: GatewayClient, name: str) -> None:
    """More orders than there is stock, each of a customer of its own."""
    await client.set_stock(f"{name}case", CREATED)
    for n in range(CREATED + REJECTED):
        order = {"id": f"{name}{n}", "sku": f"{name}case", "qty": 1, "email": f"c{n}@example.org"}
        assert (await client.place(order)).status == 202


async def test_a_replay_to_processor_and_notifier_changes_nothing(
    pipeline: Pipeline, client: GatewayClient, sink: SmtpSink
) -> None:
    """No letter, no stock, no step: also where what the notifier knew of its letters has expired."""
    name, since = f"r{time.time_ns()}-", datetime.now(UTC).isoformat()
    await place_all(client, name)
    await wait_until_settled(pipeline)
    told = dict(sink.told)
    assert len(told) == CREATED + REJECTED
    async with store_of(pipeline) as redis:
        kept = {key: await redis.get(key) async for key in redis.scan_iter(match=f"notif:{name}*")}
        steps, stock = await redis.xlen("orders:log"), await client.stock(f"{name}case")
        await redis.delete(*kept)
        counted = await replay(pipeline, "--to", "notifier", "--since", since, "--dry-run")
        assert counted["sent"] == {"order.created.v1": CREATED, "order.rejected.v1": REJECTED}
        before = await handled(pipeline, "notifier")
        sent = await replay(pipeline, "--to", "notifier", "--since", since, "--rate", "1000")
        assert sent == counted
        again = await replay(pipeline, "--to", "order_processor", "--since", since)
        assert again["sent"] == {"order.placed.v1": CREATED + REJECTED}

        async def all_came_through() -> bool:
            return await handled(pipeline, "notifier") >= before + 2 * (CREATED + REJECTED)

        await wait_until(all_came_through, what="replays, and decisions that were announced again")
        assert await redis.xlen("orders:log") == steps
        await redis.mset(kept)
    assert await client.stock(f"{name}case") == stock == 0
    assert dict(sink.told) == told
    assert (await verdict_on(pipeline, client.books, name, mailed=sink.told)).faults() == {}
    one = await replay(pipeline, "--to", "notifier", "--order", f"{name}0")
    assert sum(one["sent"].values()) == 1
