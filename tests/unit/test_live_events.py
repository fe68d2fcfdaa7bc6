"""Following everything over HTTP: each step once, in order, and what is wrong with the system."""

import asyncio
import gc
import string
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSServerHandshakeError
from prometheus_client import CollectorRegistry

from dashboard.access import OperatorAccess
from dashboard.live import feed as feeds, telling
from dashboard.live.feed import Feed, Stretch
from dashboard.live.routes import LiveRoutes
from shared import keyspace
from shared.http import event_stream
from shared.http.limits import Gate
from shared.http.metrics import HttpMetrics
from shared.http.openapi import Info, described
from shared.http.routes import application
from shared.http.server import serve
from shared.orders.redis.log import LogPage, LogPosition, OrderLog
from shared.service.lifecycle import running
from tests.harness.endpoints import an_endpoint
from tests.harness.examples import an_order
from tests.harness.http_gateway import problem_of
from tests.harness.shop import Shop
from tests.harness.stores import as_service, store_in_process
from tests.harness.waiting import wait_until

PATIENCE_SECONDS = 10


@dataclass(slots=True)
class Watching:
    """A dashboard as far as it tells what happens."""

    redis: Any
    shop: Shop
    session: ClientSession
    feed: Feed
    wrong: list[str] = field(default_factory=list)

    async def order(self, order_id: str) -> None:
        """Two steps: it is accepted and decided."""
        order = an_order(order_id, cable=1)
        await self.shop.accept(order)
        await self.shop.decide(order)

    @asynccontextmanager
    async def stream(self, **headers: str) -> AsyncIterator["Reader"]:
        """A reader of server-sent events; header names with underscores for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.get("/events", headers=named) as answer:
            assert answer.status == 200, await answer.text()
            yield Reader(answer.content)


@dataclass(slots=True)
class Reader:
    """What one of them has read."""

    content: Any
    last_id: str = ""

    async def read(self, events: int) -> list[tuple[str, dict[str, Any]]]:
        """The next events: the names of steps or of what happened to the system, and what they say."""
        found: list[tuple[str, dict[str, Any]]] = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(found) < events:
                block = (await self.content.readuntil(b"\n\n")).decode()
                if not block:
                    raise EOFError
                told = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
                self.last_id = told.get("id", self.last_id)
                if "data" in told and told.get("event") != "begin":
                    data = orjson.loads(told["data"])
                    found.append((told.get("event", data.get("step")), data))
        return found


def whole(order_id: str) -> list[tuple[str, str]]:
    """All steps of an order."""
    return [(order_id, step) for step in ("accepted", "created", "notified")]


def steps(events: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, str]]:
    """Order and step of each."""
    return [(data["order_id"], name) for name, data in events]


@pytest.fixture
async def dashboard(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watching]:
    """With plenty of cables, and place for three readers."""
    monkeypatch.setattr(feeds, "LOOK_SECONDS", 0.01)
    async with store_in_process() as redis:
        await redis.set(keyspace.inventory("cable"), 100)
        wrong: list[str] = []

        async def attention() -> list[str]:
            return list(wrong)

        feed = Feed(OrderLog(as_service(redis, "dashboard"), timeout_seconds=5.0), attention)
        live = LiveRoutes(feed, OperatorAccess(bound_to="127.0.0.1", token=None), Gate(3))
        app = application(described(Info(title="", description="", tags={}), live.table()))
        async with (
            running(feed.run_steps(), feed.run_verdicts()),
            serve(app, an_endpoint(), HttpMetrics(CollectorRegistry())) as port,
            ClientSession(f"http://127.0.0.1:{port}") as session,
        ):
            yield Watching(redis=redis, shop=Shop(redis), session=session, feed=feed, wrong=wrong)
            feed.close()


async def test_every_step_of_every_order_is_told_to_all_who_watch(dashboard: Watching) -> None:
    """From the moment in which they came; the time of a step is that of its order's record."""
    await dashboard.order("before")
    async with dashboard.stream() as one, dashboard.stream() as another:
        await one.read(0)
        await dashboard.order("a")
        await dashboard.order("b")
        expected = [*whole("a"), *whole("b")]
        assert steps(await one.read(6)) == expected
        assert steps(await another.read(6)) == expected


async def test_a_reader_goes_on_behind_what_it_saw_last(dashboard: Watching) -> None:
    """Also one that comes back to a dashboard which has read on, or has yet to begin."""
    async with dashboard.stream() as reader:
        await dashboard.order("a")
        await reader.read(2)
        seen = reader.last_id
    await dashboard.order("b")
    async with dashboard.stream(Last_Event_ID=seen) as reader:
        assert steps(await reader.read(4))[:2] == [("a", "notified"), ("b", "accepted")]
        await dashboard.order("c")
        async with dashboard.stream(Last_Event_ID=seen) as late:
            names = [
                ("a", "notified"),
                *((order, step) for order in "bc" for step in ("accepted", "created", "notified")),
            ]
            assert steps(await late.read(7)) == names


async def test_a_reader_whose_place_was_trimmed_is_told(dashboard: Watching) -> None:
    """It has to look at everything anew, and then goes on."""
    async with dashboard.stream() as reader:
        await dashboard.order("a")
        await reader.read(3)
        seen = reader.last_id
        await dashboard.order("b")
        await reader.read(3)
        await dashboard.redis.xtrim(keyspace.LOG, maxlen=1, approximate=False)
        async with dashboard.stream(Last_Event_ID=seen) as late:
            assert await late.read(1) == [("reset", {})]
            await dashboard.order("c")
            assert steps(await late.read(1)) == steps(await reader.read(1)) == [("c", "accepted")]


async def test_what_is_wrong_with_the_system_is_told_once_and_when_it_is_over(dashboard: Watching) -> None:
    """To those who come later right away; that a figure in it changes is no news."""
    async with dashboard.stream() as reader:
        await reader.read(0)
        dashboard.wrong[:] = ["An order has waited 61 s", "Broker node rabbitmq2 does not run"]
        assert await reader.read(2) == [("system.degraded", {"cause": cause}) for cause in dashboard.wrong]
        async with dashboard.stream() as late:
            assert [data["cause"] for _, data in await late.read(2)] == dashboard.wrong
        dashboard.wrong[:] = ["An order has waited 62 s"]
        assert await reader.read(1) == [("system.recovered", {"cause": "Broker node rabbitmq2 does not run"})]


async def test_the_same_comes_over_a_websocket(dashboard: Watching) -> None:
    """Where it goes on is told in the query; a page of another origin gets none."""
    await dashboard.order("a")
    first, *_ = await dashboard.redis.xrange(keyspace.LOG, count=1)
    async with dashboard.session.ws_connect("/events", params={"last_event_id": first[0]}) as socket:
        assert await messages(socket, 2) == [("a", "created"), ("a", "notified")]
        await dashboard.order("b")
        assert await messages(socket, 1) == [("b", "accepted")]
    with pytest.raises(WSServerHandshakeError, match="403"):
        await dashboard.session.ws_connect("/events", headers={"Origin": "http://elsewhere.example"})


async def messages(socket: ClientWebSocketResponse, count: int) -> list[tuple[str, str]]:
    """The next ones: order and step."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        told: list[dict[str, Any]] = []
        while len(told) < count:
            event = orjson.loads(await socket.receive_str())
            told += [] if event.get("event") == "begin" else [event["data"]]
    return [(data["order_id"], data["step"]) for data in told]


async def test_readers_are_bounded_and_leave_room_for_others(dashboard: Watching) -> None:
    """A fourth one is turned away until one of the three has gone."""
    async with dashboard.stream() as reader, dashboard.stream(), dashboard.stream():
        await reader.read(0)
        async with dashboard.session.get("/events") as answer:
            assert (await problem_of(answer))["type"].endswith("too-busy")
        async with dashboard.session.get("/events", headers={"Last-Event-ID": "x"}) as answer:
            assert answer.status == 400


async def test_a_reader_that_is_cut_off_before_any_step_misses_none(dashboard: Watching) -> None:
    """The first thing that it is told is where it is."""
    async with dashboard.stream() as reader:
        dashboard.wrong.append("a fault")
        await reader.read(1)
        seen = reader.last_id
    await dashboard.order("a")
    async with dashboard.stream(Last_Event_ID=seen) as reader:
        told = [event for event in await reader.read(4) if event[0] != "system.degraded"]
        assert steps(told) == whole("a")


async def test_a_reader_that_goes_without_a_word_is_noticed(dashboard: Watching) -> None:
    """Within a second or two, though nothing happens; what is wrong then is not told to the next one."""
    async with dashboard.stream() as reader:
        dashboard.wrong.append("a fault")
        await reader.read(1)
        await dashboard.redis.ping()
        transport = reader.content._protocol.transport
        transport.abort()
        await wait_until(lambda: dashboard.feed.readers == 0, timeout_seconds=5.0, what="it is noticed")


async def test_a_reader_that_is_far_behind_goes_on_from_the_log(
    dashboard: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is cut off: what lies between would be held for it."""
    monkeypatch.setattr(telling, "MOST_LAG_SECONDS", -1.0)
    async with dashboard.stream() as reader:
        await reader.read(0)
        await dashboard.order("a")
        with pytest.raises(EOFError):
            await reader.read(3)
        seen = reader.last_id
    monkeypatch.undo()
    async with dashboard.stream(Last_Event_ID=seen) as reader:
        assert steps(await reader.read(3)) == whole("a")


async def test_a_reader_that_catches_up_holds_nothing(
    dashboard: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slowly: what comes meanwhile it reads from the log too."""
    monkeypatch.setattr(telling, "AT_ONCE", 1)
    steps_read = dashboard.feed.steps.read
    held: list[weakref.ref[Stretch]] = []

    async def moved_on() -> bool:
        return (await dashboard.feed.latest())[0].at is not held[0]()

    async def read(after: LogPosition, limit: int) -> LogPage | None:
        if limit == 1:
            held.append(weakref.ref((await dashboard.feed.latest())[0].at))
            if len(held) == 1:
                await dashboard.order("b")
                await wait_until(moved_on, what="the feed reads on")
            elif len(held) == 3:
                gc.collect()
                assert held[0]() is None
        return await steps_read(after, limit)

    async with dashboard.stream() as reader:
        await dashboard.order("a")
        await reader.read(1)
        seen = reader.last_id
        await reader.read(2)
    monkeypatch.setattr(dashboard.feed.steps, "read", read)
    async with dashboard.stream(Last_Event_ID=seen) as reader:
        assert steps(await reader.read(5)) == [*whole("a")[1:], *whole("b")]
    assert len(held) > 3


async def test_a_handshake_that_is_none_is_refused(dashboard: Watching) -> None:
    """As what it is."""
    headers = {"Upgrade": "websocket", "Connection": "upgrade", "Sec-WebSocket-Version": "99"}
    async with dashboard.session.get("/events", headers=headers) as answer:
        assert (await problem_of(answer))["type"].endswith("malformed-request")


async def test_what_all_have_read_is_forgotten(dashboard: Watching) -> None:
    """However long a reader stays."""
    async with dashboard.stream() as reader:
        await reader.read(0)
        bookmark, _ = await dashboard.feed.latest()
        first = weakref.ref(bookmark.at)
        del bookmark
        for name in "abc":
            await dashboard.order(name)
            await reader.read(3)
        gc.collect()
        assert first() is None


async def test_a_reader_that_takes_nothing_is_cut_off(
    dashboard: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its place is free then, and others are not held up meanwhile."""
    monkeypatch.setattr(event_stream, "WRITE_SECONDS", 1.0)
    async with dashboard.stream() as slow, dashboard.stream() as quick:
        await slow.read(0)
        slow.content._protocol.pause_reading()
        for one in string.ascii_lowercase:  # together more than the system keeps for a reader
            dashboard.wrong.extend(f"{'x' * 100_000} fault {one}{two}" for two in "abcdef")
            await quick.read(6)
        await wait_until(lambda: dashboard.feed.readers == 1, what="the slow reader is cut off")
        dashboard.wrong.append("one more")
        assert await quick.read(1) == [("system.degraded", {"cause": "one more"})]
