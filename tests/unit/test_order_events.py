"""Following an order over HTTP: each step once and in order, whatever happens to connections and log."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from aiohttp import ClientResponse, ClientSession, WSServerHandshakeError
from prometheus_client import CollectorRegistry

from api_gateway import order_events
from api_gateway.app import build_app
from api_gateway.order_events import OrderEvents, StepFeed
from api_gateway.routes import events_route
from shared import keyspace
from shared.http.limits import Gate
from shared.http.metrics import HttpMetrics
from shared.http.server import serve
from shared.orders.model import OrderStatus
from shared.orders.redis.log import OrderLog
from shared.service.lifecycle import running
from tests.harness.endpoints import an_endpoint
from tests.harness.examples import an_order
from tests.harness.gateway import a_placement, order_store
from tests.harness.http_gateway import problem_of
from tests.harness.moving import moved
from tests.harness.shop import Shop
from tests.harness.stores import as_service, store_in_process
from tests.harness.tokens import ALICE, BOB, a_guard, bearer

ORDER = an_order("a", cable=3)


@dataclass(slots=True)
class Stream:
    """What one reader has read."""

    answer: ClientResponse

    async def read(self, events: int) -> list[dict[str, Any]]:
        """The next events; their ids are the numbers of their steps."""
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(10):
            while len(found) < events:
                fields = [line.partition(": ") for line in (await self._block()).splitlines()]
                told = {name: value for name, _, value in fields}
                if "data" in told:
                    found.append({**orjson.loads(told["data"]), "event": told.get("event", told.get("id"))})
        return found

    async def _block(self) -> str:
        return (await self.answer.content.readuntil(b"\n\n")).decode()


@dataclass(slots=True)
class Following:
    """A gateway as far as it lets orders be followed."""

    redis: Any
    shop: Shop
    feed: StepFeed
    session: ClientSession

    @asynccontextmanager
    async def stream(self, order_id: str = "a", **headers: str) -> AsyncIterator[Stream]:
        """One reader."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.get(f"/orders/{order_id}/events", headers=named) as answer:
            yield Stream(answer)


@pytest.fixture
async def gateway() -> AsyncIterator[Following]:
    """With ten cables, and place for two readers."""
    async with store_in_process() as redis:
        await redis.set(keyspace.inventory("cable"), 10)
        own = as_service(redis, "api_gateway")
        feed = StepFeed(OrderLog(own, timeout_seconds=5.0))
        events = OrderEvents(order_store(redis), feed, Gate(2))
        app = build_app((events_route(events),), a_guard())
        async with (
            running(feed.run()),
            serve(app, an_endpoint(), HttpMetrics(CollectorRegistry())) as port,
            ClientSession(f"http://127.0.0.1:{port}") as session,
        ):
            yield Following(redis=redis, shop=Shop(redis), feed=feed, session=session)
            feed.close()


def steps(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Number and step of each."""
    return [(event["event"], event["step"]) for event in events]


async def test_a_reader_sees_each_step_as_it_happens(gateway: Following, monkeypatch: Any) -> None:
    """From the first one to the last, with who did it, and then that there will be no more."""
    monkeypatch.setattr(order_events, "LINGER_SECONDS", 0.05)
    await gateway.shop.accept(ORDER)
    async with gateway.stream() as stream:
        assert stream.answer.headers["Content-Type"] == "text/event-stream"
        assert steps(await stream.read(1)) == [("1", "accepted")]
        await gateway.shop.decide(ORDER)
        assert steps(await stream.read(2)) == [("2", "created"), ("3", "notified")]
        await moved(gateway.redis, "a", OrderStatus.CANCELLED, reason="ordered twice")
        (cancelled,) = await stream.read(1)
        assert (cancelled["event"], cancelled["reason"], cancelled["by"]) == ("4", "ordered twice", "olga")
        assert await stream.read(1) == [{"status": "cancelled", "event": "end"}]
        assert await stream.answer.content.read() == b""
    async with gateway.stream(Last_Event_ID="4") as stream:
        assert stream.answer.status == 204
    async with gateway.stream(Last_Event_ID="3") as stream:
        assert steps(await stream.read(1)) == [("4", "cancelled")]


async def test_a_reader_that_comes_back_goes_on_where_it_was(gateway: Following) -> None:
    """Also where the log was trimmed past that."""
    await gateway.shop.accept(ORDER)
    async with gateway.stream() as stream:
        await stream.read(1)
    await gateway.shop.decide(ORDER)
    await gateway.redis.xtrim(keyspace.LOG, maxlen=0)
    async with gateway.stream(Last_Event_ID="1") as stream:
        assert steps(await stream.read(2)) == [("2", "created"), ("3", "notified")]
        await gateway.redis.xtrim(keyspace.LOG, maxlen=0)
        await moved(gateway.redis, "a", OrderStatus.PROCESSING)
        assert steps(await stream.read(1)) == [("4", "processing")]


async def test_the_same_comes_over_a_websocket(gateway: Following) -> None:
    """From behind the step that its query names; a page of another origin gets none."""
    await gateway.shop.accept(ORDER)
    await gateway.shop.decide(ORDER)
    async with (
        asyncio.timeout(10),
        gateway.session.ws_connect("/orders/a/events", params={"last_event_id": "1"}) as socket,
    ):
        told = [orjson.loads(await socket.receive_str()) for _ in range(2)]
    assert [(event["id"], event["data"]["step"]) for event in told] == [("2", "created"), ("3", "notified")]
    with pytest.raises(WSServerHandshakeError, match="403"):
        await gateway.session.ws_connect("/orders/a/events", headers={"Origin": "http://elsewhere.example"})


async def test_nobody_follows_anothers_order(gateway: Following) -> None:
    """Nor one that is not there; an id of an event is a number."""
    await order_store(gateway.redis).accept(a_placement(ORDER, customer=ALICE.id))
    async with gateway.stream(**bearer(ALICE)) as stream:
        assert steps(await stream.read(1)) == [("1", "accepted")]
    for order_id, headers in (("a", bearer(BOB)), ("a", {}), ("b", bearer(ALICE))):
        async with gateway.stream(order_id, **headers) as stream:
            assert stream.answer.status == 404
    async with gateway.stream(Last_Event_ID="x", **bearer(ALICE)) as stream:
        assert (await problem_of(stream.answer))["errors"][0]["field"] == "Last-Event-ID"


async def test_whether_an_order_can_be_followed_can_be_asked(gateway: Following) -> None:
    """The answer to HEAD ends at once."""
    await gateway.shop.accept(ORDER)
    async with asyncio.timeout(10), gateway.session.head("/orders/a/events") as answer:
        assert (answer.status, await answer.read()) == (200, b"")


async def test_readers_are_bounded_and_leave_with_the_gateway(gateway: Following) -> None:
    """Each of those who were let in is told to come back; who is beyond is turned away."""
    await gateway.shop.accept(ORDER)
    async with gateway.stream() as first, gateway.stream() as second:
        await first.read(1)
        await second.read(1)
        async with gateway.stream() as third:
            assert third.answer.status == 503
        gateway.feed.close()
        for stream in (first, second):
            async with asyncio.timeout(10):
                assert await stream.answer.content.read() == b""
