"""One folder and one row of the map make a consumer: it works beside the others and is seen like them.

The tree under test is a copy with the fraud check of ``tests/examples`` in it, see ``harness.overlay``.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from yarl import URL

from orderctl.native import processes, redis
from shared.pipeline import RETRY_TIERS_SECONDS
from shared.redis.rights import rules_of
from tests.harness.brokers import delete_queue
from tests.harness.client import GatewayClient, gateway_client
from tests.harness.evidence import wait_until_settled
from tests.harness.overlay import tree_with_fraud_check
from tests.harness.replaying import replay
from tests.harness.running import Pipeline
from tests.harness.stores import free_port
from tests.harness.terminal import Operator
from tests.harness.waiting import wait_until

NAME = "fraud_check"
QUEUES = [f"{NAME}.{end}" for end in ("queue", "dead", *(f"retry.{tier}" for tier in RETRY_TIERS_SECONDS))]
PASSWORD = "of-the-tests"
ADMIT = """
import json, sys
from shared.messaging.rabbitmq.rights import admit
admit(sys.argv[1], json.loads(sys.argv[2]))
"""
DERIVED = [
    f"tests/unit/test_{name}.py"
    for name in (
        "broker_rights",
        "dashboard_attention",
        "dashboard_metrics",
        "dashboard_page",
        "dead_http",
        "dead_letter",
        "dead_orderctl",
        "memory_broker",
        "orderctl_cli",
        "pipeline_map",
        "router",
    )
]
"""Tests of the parts that go through all consumers."""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree with one more consumer."""
    return tree_with_fraud_check(tmp_path_factory.mktemp("tree"))


@pytest.fixture
async def fraud_pipeline(pipeline: Pipeline, tree: Path) -> AsyncIterator[Pipeline]:
    """The running system of the tests, with the users that the map of that tree gives it; none of the
    consumer's queues is left in it afterwards."""
    urls = pipeline.cluster.broker_urls("dashboard")
    passwords = {NAME: PASSWORD, "dashboard": URL(urls[0]).password}
    url = pipeline.cluster.rabbitmq_management_urls[0]
    words = (sys.executable, "-c", ADMIT, url, json.dumps(passwords))
    assert await (await asyncio.create_subprocess_exec(*words, cwd=tree)).wait() == 0
    yield pipeline
    for queue in QUEUES:
        await delete_queue(pipeline, queue)
    redis.ask(pipeline.cluster.redis_url, "ACL", "DELUSER", NAME)


def new_login(pipeline: Pipeline) -> str:
    """The store for the consumer, whose login is made with the rights that ``orderctl up`` would give it."""
    operator = pipeline.cluster.redis_url
    made = redis.ask(operator, "ACL", "SETUSER", NAME, "reset", "on", f">{NAME}", *rules_of(NAME))
    assert made.startswith("+OK")
    return f"redis://{NAME}:{NAME}@{operator.partition('@')[2]}"


@asynccontextmanager
async def service(tree: Path, pipeline: Pipeline, name: str, **settings: str) -> AsyncIterator[GatewayClient]:
    """One service of that tree on the cluster, and a client of its operations port; ready in the block."""
    port = str(free_port())
    known = pipeline.services.settings("dashboard")
    if name == NAME:
        own = (URL(url).with_user(NAME).with_password(PASSWORD) for url in known["RABBITMQ_URLS"].split(","))
        known["RABBITMQ_URLS"] = ",".join(map(str, own))
        known["REDIS_URL"] = new_login(pipeline)
    ports = {"FRAUD_CHECK_OPS_PORT": port, "DASHBOARD_PORT": port, "DASHBOARD_SERVICE_URLS": ""}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", name, cwd=tree, env={**os.environ, **known, **ports, **settings}
    )
    try:
        async with gateway_client(f"http://127.0.0.1:{port}") as client:

            async def is_ready() -> bool:
                try:
                    return (await client.request("GET", "/readyz")).status == 200
                except OSError:
                    return False

            await wait_until(is_ready, what=f"{name} to be ready")
            yield client
    finally:
        process.terminate()
        assert await process.wait() == 0


async def settled(client: GatewayClient, outcome: str) -> float:
    """How many deliveries have come to this, by the consumer's own metrics."""
    text = str((await client.request("GET", "/metrics")).body)
    wanted = f'deliveries_settled_total{{outcome="{outcome}",queue="{NAME}.queue"}}'
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(wanted))


async def letters(dashboard: GatewayClient) -> list[Mapping[str, Any]]:
    """Its dead letters, as the desk shows them."""
    answer = await dashboard.request("GET", f"/dead?queue={NAME}.dead")
    assert answer.status == 200, answer
    shown: list[Mapping[str, Any]] = answer.body["letters"]
    return shown


@pytest.mark.broker
@pytest.mark.timeout(120)
async def test_it_gets_events_retries_dead_letters_and_takes_back_what_is_redriven(
    fraud_pipeline: Pipeline, tree: Path
) -> None:
    """On the real cluster, beside the notifier, which gets the same events."""
    prefix = f"f{time.time_ns()}"
    orders = {
        f"{prefix}-honest": "a@example.com",
        f"{prefix}-silent": None,
        f"{prefix}-shady": "b@blocked.example",
    }
    async with service(tree, fraud_pipeline, "dashboard") as dashboard:
        async with (
            service(tree, fraud_pipeline, NAME) as fraud_check,
            gateway_client(fraud_pipeline.gateway_url) as gateway,
        ):
            await gateway.request("PUT", f"/inventory/{prefix}", json={"available": 10})
            for order_id, email in orders.items():
                order = {"id": order_id, "items": [{"sku": prefix, "qty": 1}]}
                answer = await gateway.place(order if email is None else {**order, "email": email})
                assert answer.status == 202

            async def all_dealt_with() -> bool:
                outcomes = [await settled(fraud_check, outcome) for outcome in ("done", "retried", "dead")]
                return outcomes == [2, 1, 1]

            await wait_until(all_dealt_with, what="two passed, one of them on its second try, one dead")
        (letter,) = await letters(dashboard)
        assert (letter["order_id"], letter["reason"]) == (f"{prefix}-shady", "suspicious")

        async with service(tree, fraud_pipeline, NAME, FRAUD_CHECK_BLOCKED_DOMAIN="x.example") as fraud_check:
            answer = await dashboard.request("POST", "/dead/redrive", json={"ids": [letter["id"]]})
            assert answer.status == 200, answer

            async def passed() -> bool:
                return await settled(fraud_check, "done") == 1

            await wait_until(passed, what="the redriven order to pass")
        assert await letters(dashboard) == []
    async with gateway_client(fraud_pipeline.gateway_url) as gateway:
        shown = (await gateway.request("GET", f"/orders/{prefix}-shady")).body
    assert "fraud_check_redriven" in [step["step"] for step in shown["timeline"]]


@pytest.mark.broker
@pytest.mark.timeout(120)
async def test_what_happened_before_it_was_there_is_told_by_a_replay(
    fraud_pipeline: Pipeline, tree: Path
) -> None:
    """To its queue, which the replay makes; what is new comes beside it."""
    await delete_queue(fraud_pipeline, QUEUES[0])
    prefix, since = f"f{time.time_ns()}-", datetime.now(UTC).isoformat()
    async with gateway_client(fraud_pipeline.gateway_url) as gateway:
        await gateway.request("PUT", f"/inventory/{prefix}", json={"available": 10})
        for n in range(3):
            order = {"id": f"{prefix}{n}", "sku": prefix, "qty": 1, "email": "a@example.com"}
            assert (await gateway.place(order)).status == 202
        await wait_until_settled(fraud_pipeline)
        report = await replay(fraud_pipeline, "--to", NAME, "--since", since, tree=tree)
        assert report["sent"] == {"order.created.v1": 3}
        async with service(tree, fraud_pipeline, NAME) as fraud_check:
            await gateway.place({"id": f"{prefix}3", "sku": prefix, "qty": 1, "email": "a@example.com"})

            async def all_known() -> bool:
                return await settled(fraud_check, "done") == 4

            await wait_until(all_known, what="its history, and the order that is new")


@pytest.fixture(scope="module")
def operator(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """Types `orderctl` of that tree, in embedded mode."""
    operator = Operator(tmp_path_factory.mktemp("embedded") / "data", tree=tree)
    operator.layout.create()
    try:
        operator.types("up", "--mode", "embedded")
        yield operator
    finally:
        operator.types("down", "--wipe")


@pytest.mark.timeout(120)
def test_operators_see_it_like_the_others(operator: Operator) -> None:
    """Status, dead letters and log of an order that it set aside."""
    operator.types("inventory", "set", "cable", "5")
    operator.types("order", "place", "--id", "shady1", "--sku", "cable", "--email", "b@blocked.example")
    assert operator.status()["services"][NAME]["ready"]

    def lies_there() -> bool:
        return f"1 in {NAME}.dead" in operator.types("dead", "list")

    assert processes.wait_until(lies_there, 20.0)
    url = operator.status()["services"]["dashboard"]["url"]

    def is_told() -> bool:
        with urlopen(url, timeout=10) as page:  # noqa: S310 - our own
            return f"Dead letters of {NAME} in {NAME}.dead: 1" in page.read().decode()

    assert processes.wait_until(is_told, 20.0)
    found = operator.types("doctor", status=1)
    assert f"{NAME} is ready" in found
    assert f"Dead letters of {NAME} in {NAME}.dead: 1" in found
    operator.types("dead", "drop", "--all", "--yes")
    assert f"{NAME}_dropped" in operator.types("order", "show", "shady1")


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "command",
    [
        ["pytest", "-q", "-x", "-p", "no:cacheprovider", *DERIVED],
        ["tests.simulator", "--seeds", "0-9"],
    ],
    ids=["unit tests", "simulator"],
)
def test_what_derives_from_the_map_holds_for_one_more(tree: Path, command: list[str]) -> None:
    """No test, and no part of the harness, counts on two consumers."""
    ended = subprocess.run(
        [sys.executable, "-m", *command], cwd=tree, capture_output=True, text=True, timeout=200, check=False
    )
    assert ended.returncode == 0, ended.stdout[-5_000:] + ended.stderr[-2_000:]
