"""`orderctl verify` on the real system: under load, after a queue was lost, after the store went back."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from orderctl.brokers import leader_of, messages_in
from orderctl.native.ports import NODE_NAMES
from orderctl.verification.promises import Promises
from orderctl.verification.session import verify
from orderctl.verification.verification import Patience, Reconciliation
from shared import keyspace
from shared.pipeline import ORDER_PROCESSOR
from tests.harness.brokers import delete_queue, members_agree, purge
from tests.harness.client import GatewayClient, gateway_client
from tests.harness.evidence import store_of, wait_until_settled
from tests.harness.running import Pipeline
from tests.harness.waiting import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]

BRIEF = Patience(quiet=4.0)
MANY, PER_SECOND = 2_000, "150"
"""So that orders flow for as long as several verdicts take, on a machine that is busy, too."""
"""Orders that take longer to place than a command to begin."""
SKU = "cable"


@pytest.fixture
async def client(pipeline: Pipeline) -> AsyncIterator[GatewayClient]:
    """A client of a pipeline that has no orders yet, and 10,000 cables."""
    pipeline.empty_store()
    async with gateway_client(pipeline.gateway_url) as speaking:
        await speaking.set_stock(SKU, 10_000)
        yield speaking


async def place(client: GatewayClient, name: str, count: int) -> None:
    """Places so many orders of two cables."""
    await client.place_many([{"id": f"{name}{n}", "sku": SKU, "qty": 2} for n in range(count)], 20)


async def verified(pipeline: Pipeline, client: GatewayClient, *, republish: bool = False) -> Reconciliation:
    """What the command finds, with less patience, and what the client was promised as its ledger."""
    return await verify(
        pipeline.cluster.redis_url,
        Promises(acknowledged=client.books.acknowledged),
        management_urls=pipeline.cluster.rabbitmq_management_urls,
        republish=republish,
        patience=BRIEF,
    )


async def orderctl(pipeline: Pipeline, *words: str, status: int = 0) -> str:
    """What an operator's command prints; its exit status must be as expected."""
    command = [sys.executable, "-m", "orderctl", *words]
    environment = ["--data-dir", str(pipeline.cluster.layout.data_dir)]
    result = await asyncio.to_thread(
        subprocess.run,
        [*command, *environment],
        env={
            **os.environ,
            "ORDERCTL_REDIS_URL": pipeline.cluster.redis_url,
            "ORDERCTL_LEDGER_DATABASE_URL": pipeline.cluster.database_url("ledger"),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == status, result.stdout + result.stderr
    return str(result.stdout)


async def all_published(pipeline: Pipeline) -> None:
    """Every accepted order lies in a queue."""
    async with store_of(pipeline) as redis:

        async def nothing_left() -> bool:
            return int(await redis.zcard(keyspace.OUTBOX)) == 0

        await wait_until(nothing_left, what="the outbox empty")


async def test_the_command_is_exact_while_orders_flow(
    pipeline: Pipeline, client: GatewayClient, tmp_path: Path
) -> None:
    """Under load every verdict passes; afterwards the ledger of the load is there to the last order."""
    ledger = str(tmp_path / "ledger.jsonl")
    load = asyncio.create_task(
        orderctl(
            pipeline,
            *(
                "load",
                "--orders",
                str(MANY),
                "--rate",
                PER_SECOND,
                "--sku",
                SKU,
                "--concurrency",
                "20",
                "--json",
            ),
            *("--ledger", ledger, "--url", pipeline.gateway_url),
        )
    )
    verdicts: list[dict[str, Any]] = []
    while not load.done():
        verdicts.append(json.loads(await orderctl(pipeline, "verify", "--json")))
    await load
    assert all(verdict["passed"] for verdict in verdicts)
    assert any(0 < verdict["decisions"] < MANY for verdict in verdicts)
    last = json.loads(await orderctl(pipeline, "verify", "--json", "--ledger", ledger))
    assert (last["orders"], last["created"], last["acknowledged"]) == (MANY, MANY, MANY)
    assert last["why"] == {}


async def test_a_fault_is_named_and_fails_the_command(pipeline: Pipeline, client: GatewayClient) -> None:
    """Exit 1 and the offender, in words and as JSON."""
    await place(client, "tampered", 3)
    await wait_until_settled(pipeline)
    async with store_of(pipeline) as redis:
        await redis.hincrby(keyspace.RESERVED, SKU, -2)
    shown = await orderctl(pipeline, "verify", status=1)
    assert shown.startswith("FAIL  1 oversold")
    assert "6 pieces in created orders, 4 reserved" in shown
    assert json.loads(await orderctl(pipeline, "verify", "--json", status=1))["oversold"] == [SKU]


async def test_orders_of_a_deleted_queue_are_stuck_until_they_are_republished(
    pipeline: Pipeline, client: GatewayClient
) -> None:
    """The queue comes back empty with the processor; verify says what is stuck, and heals it when asked."""
    await place(client, "before", 20)
    await wait_until_settled(pipeline)
    await pipeline.stop("order_processor")
    await place(client, "gone", 120)
    await all_published(pipeline)
    await members_agree(pipeline, ORDER_PROCESSOR.queue)
    await delete_queue(pipeline, ORDER_PROCESSOR.queue)
    await pipeline.start("order_processor")
    stuck = await verified(pipeline, client)
    assert {kind: len(found) for kind, found in stuck.verdict.faults().items()} == {"stuck": 120}
    healed = await verified(pipeline, client, republish=True)
    assert healed.verdict.faults() == {}
    assert (len(healed.republished), healed.healed) == (120, 120)
    assert (healed.verdict.created, await client.stock(SKU)) == (140, 10_000 - 280)
    again = await verified(pipeline, client, republish=True)
    assert (again.verdict.passed, list(again.republished)) == (True, [])


async def test_events_of_a_deleted_queue_are_announced_again(
    pipeline: Pipeline, client: GatewayClient
) -> None:
    """Orders whose customers were not told are republished too: decided once, told now."""
    await pipeline.stop("notifier")
    await place(client, "untold", 30)
    async with store_of(pipeline) as redis:

        async def decided() -> bool:
            return int(await redis.get(keyspace.PROCESSED_COUNT) or 0) == 30

        await wait_until(decided, what="all decided")
    await members_agree(pipeline, "notifier.queue")
    await delete_queue(pipeline, "notifier.queue")
    await pipeline.start("notifier")
    healed = await verified(pipeline, client, republish=True)
    assert healed.verdict.faults() == {}
    assert (healed.healed, healed.verdict.told, await client.stock(SKU)) == (30, 30, 10_000 - 60)


async def test_a_store_restored_from_an_older_copy_is_healed_by_the_broker(
    pipeline: Pipeline, client: GatewayClient
) -> None:
    """Orders that waited in the queue are recreated from their messages, and the books balance."""
    await place(client, "old", 40)
    await wait_until_settled(pipeline)
    await pipeline.stop("order_processor")
    data = pipeline.cluster.layout.part("redis")
    copy = data.with_name("redis-copy")
    await asyncio.to_thread(shutil.copytree, data, copy)
    await place(client, "new", 80)
    await all_published(pipeline)
    await asyncio.to_thread(_put_back, pipeline, data, copy)
    async with store_of(pipeline) as redis:
        assert not await redis.exists(keyspace.order("new0"))
    await pipeline.start("order_processor")
    await wait_until_settled(pipeline)
    assert (await verified(pipeline, client)).verdict.faults() == {}
    verdict = (await verified(pipeline, client)).verdict
    assert (verdict.orders, verdict.created, verdict.told) == (120, 120, 120)
    assert await client.stock(SKU) == 10_000 - 240


def _put_back(pipeline: Pipeline, data: Path, copy: Path) -> None:
    pipeline.cluster.stop_part("redis")
    shutil.rmtree(data)
    copy.rename(data)
    pipeline.cluster.start_part("redis")
    pipeline.cluster.wait_store("redis")
    pipeline.services.wait_ready(["api_gateway", "notifier"])


async def test_brokers_tell_who_leads_a_queue_and_what_it_holds(
    pipeline: Pipeline, client: GatewayClient
) -> None:
    """Whichever broker answers; an address that nobody answers at tells nothing."""
    urls: Sequence[str] = pipeline.cluster.rabbitmq_management_urls
    await purge(pipeline.cluster.rabbitmq_urls[0], ORDER_PROCESSOR.dead_queue)  # letters of other tests

    async def told() -> bool:
        return await messages_in(urls, ORDER_PROCESSOR.dead_queue) == 0

    await wait_until(told, what="the dead-letter queue known to be empty")
    assert await leader_of(urls, ORDER_PROCESSOR.queue) in NODE_NAMES
    assert await messages_in(["http://127.0.0.1:9"], ORDER_PROCESSOR.queue) is None
