"""The dashboard beside a running pipeline, and what it says while parts of that pipeline die."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from shared.pipeline import queues
from tests.harness.brokers import frozen_part
from tests.harness.client import gateway_client
from tests.harness.running import Pipeline
from tests.harness.waiting import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

SEEN_SECONDS = 20.0
ANSWER_SECONDS = 3.0
NODE = "rabbitmq2"
PIPELINE_QUEUES = [queue.name for queue in queues()]


class Reader:
    """Reads the dashboard; every answer must come in time, whatever is broken."""

    def __init__(self, session: aiohttp.ClientSession, pipeline: Pipeline) -> None:
        self._session = session
        self._pipeline = pipeline

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Status and body."""
        url = self._pipeline.dashboard_url + path
        async with asyncio.timeout(ANSWER_SECONDS), self._session.get(url, headers=headers) as answer:
            return answer.status, await answer.text()

    async def metrics(self, query: str = "") -> dict[str, Any]:
        """The figures."""
        url = f"{self._pipeline.dashboard_url}/metrics{query}"
        async with asyncio.timeout(ANSWER_SECONDS), self._session.get(url) as answer:
            assert answer.status == 200, await answer.text()
            figures: dict[str, Any] = await answer.json()
            return figures

    async def states(self) -> dict[str, str]:
        """Each node's state."""
        nodes = (await self.metrics())["broker_nodes"]
        return {node["node"].partition("@")[0]: node["state"] for node in nodes}

    async def until_states(self, **expected: str) -> None:
        """Waits until these nodes have these states."""

        async def reached() -> bool:
            return expected.items() <= (await self.states()).items()

        await wait_until(reached, timeout_seconds=SEEN_SECONDS, what=f"node states {expected}")

    async def leftovers(self) -> list[str]:
        """What needs attention though all runs: earlier tests leave dead orders and odd stock behind."""
        missing: list[Any] = []

        async def whole() -> bool:
            figures = await self.metrics()
            missing[:] = [item for item in figures["queues"].items() if item[1]["online"] != 3]
            missing.extend(item for item in figures["services"].items() if not item[1]["ready"])
            return not missing

        await wait_until(whole, timeout_seconds=3 * SEEN_SECONDS, what=lambda: f"all whole but {missing}")
        attention: list[str] = (await self.metrics())["attention"]
        return attention


@pytest.fixture
async def reader(pipeline: Pipeline) -> AsyncIterator[Reader]:
    """A reader of the dashboard of the whole pipeline."""
    async with aiohttp.ClientSession() as session:
        read = Reader(session, pipeline)
        await read.until_states(rabbitmq1="running", rabbitmq2="running", rabbitmq3="running")
        yield read


async def test_an_order_shows_in_every_figure(pipeline: Pipeline, reader: Reader) -> None:
    """Decided, told, and taken out of stock; the queues are whole, and each has its consumer."""
    before = await reader.metrics()
    async with gateway_client(pipeline.gateway_url) as gateway:
        await gateway.set_stock("dash-case", 100)
        await gateway.place({"id": "dash-1", "sku": "dash-case", "qty": 2})

    async def told() -> bool:
        return bool((await reader.metrics("?order_id=dash-1"))["notification_status"] == "sent")

    await wait_until(told, timeout_seconds=SEEN_SECONDS)
    after = await reader.metrics("?sku=dash-case&order_id=dash-1")
    assert after["inventory_level"] == after["inventory"]["dash-case"] == 98
    assert after["processed_orders_count"] == before["processed_orders_count"] + 1
    assert after["orders"]["created"] == before["orders"]["created"] + 1
    assert after["notifications"]["sent"] == before["notifications"]["sent"] + 1

    async def whole() -> bool:
        found = (await reader.metrics())["queues"]
        return found.keys() >= set(PIPELINE_QUEUES) and {queue["members"] for queue in found.values()} == {3}

    await wait_until(whole, timeout_seconds=SEEN_SECONDS, what="queues of three members each")
    _, page = await reader.get("/?sku=dash-case")
    assert "has 98 available" in page


async def test_a_service_that_does_not_run_is_said(pipeline: Pipeline, reader: Reader) -> None:
    """In JSON, in the exposition and on the page, with what helps; nothing else is the matter then."""
    expected = "api_gateway: connection refused. Start it: .venv/bin/orderctl start api_gateway"
    before = await reader.leftovers()

    async def said() -> bool:
        return bool((await reader.metrics())["attention"] == [expected, *before])

    async def well() -> bool:
        return bool((await reader.metrics())["attention"] == before)

    await pipeline.stop("api_gateway")
    await wait_until(said, timeout_seconds=SEEN_SECONDS, what="the gateway in the dashboard's words")
    _, exposed = await reader.get("/metrics", Accept="text/plain")
    _, page = await reader.get("/")
    assert 'pipeline_service_ready{service="api_gateway"} 0.0' in exposed
    assert 'pipeline_service_ready{service="notifier"} 1.0' in exposed
    assert ".venv/bin/orderctl start api_gateway" in page
    await pipeline.start("api_gateway")
    await wait_until(well, timeout_seconds=SEEN_SECONDS, what="nothing that needs attention")


async def test_a_dead_node_is_seen_and_its_return_too(pipeline: Pipeline, reader: Reader) -> None:
    """Not running while it is dead; its queues are short of a member; then all is whole again."""
    dead = pipeline.cluster.erlang_name(NODE)
    before = await reader.leftovers()
    await asyncio.to_thread(pipeline.cluster.kill, NODE)
    await reader.until_states(rabbitmq1="running", rabbitmq2="not_running", rabbitmq3="running")
    _, ready = await reader.get("/readyz?verbose")
    assert f"nodes: Broker node {dead} does not run" in ready
    _, exposed = await reader.get("/metrics", Accept="text/plain")
    assert f'pipeline_broker_node_up{{node="{dead}"}} 0.0' in exposed

    async def one_thing() -> bool:
        return len((await reader.metrics())["attention"]) == len(before) + 1

    await wait_until(one_thing, timeout_seconds=SEEN_SECONDS, what="one thing for one dead node")

    async def short() -> bool:
        return bool((await reader.metrics())["queues"]["orders.queue"]["online"] == 2)

    await wait_until(short, timeout_seconds=SEEN_SECONDS, what="a queue with two members online")
    await asyncio.to_thread(pipeline.cluster.start)
    await reader.until_states(rabbitmq1="running", rabbitmq2="running", rabbitmq3="running")


async def test_a_frozen_node_is_unreachable(pipeline: Pipeline, reader: Reader) -> None:
    """Its peers hang on every question about the cluster, yet the dashboard answers and names the culprit."""
    async with frozen_part(pipeline, NODE):
        await reader.until_states(rabbitmq1="running", rabbitmq2="unreachable", rabbitmq3="running")
    await reader.until_states(rabbitmq1="running", rabbitmq2="running", rabbitmq3="running")


async def test_a_frozen_store_is_said_in_time(pipeline: Pipeline, reader: Reader) -> None:
    """JSON is a 503; the page and the scraper still have the brokers; then everything resumes."""
    broker = pipeline.cluster.erlang_name(NODE)
    async with frozen_part(pipeline, "redis"):
        status, body = await reader.get("/metrics?sku=dash-case")
        assert (status, '"title":"The store is unavailable"' in body) == (503, True)
        status, page = await reader.get("/")
        assert (status, "orderctl start redis" in page, broker in page) == (503, True, True)
        status, exposed = await reader.get("/metrics", Accept="application/openmetrics-text")
        assert (status, "pipeline_store_up 0.0" in exposed) == (200, True)

    async def answers() -> bool:
        return (await reader.get("/readyz"))[0] == 200

    await wait_until(answers, timeout_seconds=ANSWER_SECONDS)


async def test_without_any_management_interface_the_rest_is_shown(
    pipeline: Pipeline, reader: Reader, unused_tcp_port: int
) -> None:
    """The dashboard is ready, its nodes are unknown, and the store's figures are there."""
    await pipeline.stop("dashboard")
    try:
        url = f"http://guest:guest@127.0.0.1:{unused_tcp_port}"
        await pipeline.start("dashboard", RABBITMQ_MANAGEMENT_URLS=url)
        figures = await reader.metrics()
    finally:
        await pipeline.stop("dashboard")
    states = [(node["node"], node["state"]) for node in figures["broker_nodes"]]
    assert states == [(f"127.0.0.1:{unused_tcp_port}", "unknown")]
    assert figures["queues"] == {}
    assert figures["processed_orders_count"] >= 0
    assert "guest" not in "".join(figures["attention"])
