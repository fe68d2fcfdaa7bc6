"""A client that asks again as the contract tells it to, and a ledger that says what it knows."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from orderctl.errors import OrderctlError
from orderctl.gateway_client import (
    MOST_ATTEMPTS_BY_HAND,
    GatewayAddress,
    GatewayClient,
    GatewayError,
    ask,
    connect,
)
from orderctl.ledger import LedgerEvent, LedgerWriter, read_ledger
from orderctl.load import LoadPlan, LoadReport, evenly, look_back, percentile, run_load
from shared.messages import OrderItem

ORDER = {"id": "order123", "sku": "cable", "qty": 1}
Respond = Callable[[dict[str, Any], int], web.Response]


def connected(url: str, *, connections: int = 1) -> AbstractAsyncContextManager[GatewayClient]:
    """A client of the gateway at this URL."""
    return connect(GatewayAddress(url=url), connections=connections)


class Gateway:
    """Answers as a test tells it to: `respond` gets the order and how often its id has been asked for."""

    def __init__(self, respond: Respond) -> None:
        self._respond = respond
        self.asked: dict[str, int] = {}

    async def place(self, request: web.Request) -> web.Response:
        order = await request.json()
        self.asked[order["id"]] = self.asked.get(order["id"], 0) + 1
        return self._respond(order, self.asked[order["id"]])


@asynccontextmanager
async def serving(respond: Respond) -> AsyncIterator[tuple[Gateway, str]]:
    """A gateway of the test's own, with its URL."""
    gateway = Gateway(respond)
    app = web.Application()
    app.router.add_post("/orders", gateway.place)
    async with TestServer(app) as server:
        yield gateway, str(server.make_url("")).rstrip("/")


def accepted(order: dict[str, Any], asked: int) -> web.Response:
    """The usual answer."""
    return web.json_response({"id": order["id"], "status": "accepted"}, status=202)


def busy(asked: int) -> web.Response:
    """Ask again at once."""
    return web.json_response({"title": "Busy"}, status=503, headers={"Retry-After": "0"})


def duplicate(*, same_content: bool) -> web.Response:
    """The id is known."""
    return web.json_response({"title": "Duplicate order", "same_content": same_content}, status=409)


async def test_a_503_is_asked_again_under_the_same_id() -> None:
    """An order that was refused for the moment is placed once the gateway takes it."""
    async with (
        serving(lambda order, asked: accepted(order, asked) if asked == 3 else busy(asked)) as (gateway, url),
        connected(url) as client,
    ):
        answer = await client.place(ORDER)
    assert answer.accepted
    assert gateway.asked == {"order123": 3}


async def test_a_duplicate_after_asking_again_is_a_success() -> None:
    """The attempt before had worked after all: that is how asking again converges."""
    async with (
        serving(lambda _, asked: busy(asked) if asked == 1 else duplicate(same_content=True)) as (_, url),
        connected(url) as client,
    ):
        assert (await client.place(ORDER)).accepted


@pytest.mark.parametrize("same_content", [True, False])
async def test_a_duplicate_at_once_is_a_failure(same_content: bool) -> None:
    """An id that somebody used before is not an order of ours."""
    async with (
        serving(lambda *_: duplicate(same_content=same_content)) as (_, url),
        connected(url) as client,
    ):
        answer = await client.place(ORDER)
    assert not answer.accepted
    assert "Duplicate order" in str(answer.failure())


async def test_wrong_fields_are_named() -> None:
    """What the gateway says about a field reaches the operator."""
    body = {"title": "Invalid order", "errors": [{"field": "qty", "message": "at least 1"}]}
    async with serving(lambda *_: web.json_response(body, status=422)) as (_, url), connected(url) as client:
        answer = await client.place(ORDER)
    assert str(answer.failure()) == "Invalid order: qty: at least 1"


async def test_a_gateway_that_is_away_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a bounded number of attempts the operator is told."""
    monkeypatch.setattr("orderctl.gateway_client.MOST_ATTEMPTS", 2)
    async with connected("http://127.0.0.1:9") as client:
        with pytest.raises(GatewayError, match=r"127\.0\.0\.1:9 does not answer"):
            await client.place(ORDER)


async def test_a_person_is_told_soon_what_the_gateway_refuses_for_the_moment() -> None:
    """Not after thirty attempts, during which nothing is printed."""
    async with serving(lambda _, asked: busy(asked)) as (gateway, url):
        answer = await asyncio.to_thread(ask, url, None, lambda client: client.place(ORDER))
    assert gateway.asked == {"order123": MOST_ATTEMPTS_BY_HAND}
    assert answer.failure().advice == "orderctl doctor"


async def test_a_run_places_every_order_once_and_writes_it_down(tmp_path: Path) -> None:
    """Whatever had to be asked again, each order is attempted and acknowledged once in the ledger."""
    plan = LoadPlan(run_id="r", orders=60, concurrency=8, items=(OrderItem(sku="cable", qty=2),))

    def respond(order: dict[str, Any], asked: int) -> web.Response:
        unlucky = int(order["id"].rpartition("-")[2]) % 7 == 0 and asked == 1
        return busy(asked) if unlucky else accepted(order, asked)

    ledger = tmp_path / "ledger.jsonl"
    async with serving(respond) as (gateway, url), connected(url, connections=8) as client:
        with LedgerWriter(ledger) as writer:
            report = await run_load(client, plan, writer, LoadReport())
    entries = list(read_ledger(ledger))
    attempted = [entry for entry in entries if entry.event is LedgerEvent.ATTEMPTED]
    acknowledged = [entry.order_id for entry in entries if entry.event is LedgerEvent.ACKNOWLEDGED]
    assert sorted(acknowledged) == sorted(plan.order_id(number) for number in range(60))
    assert {entry.items for entry in attempted} == {plan.items}
    assert (report.acknowledged, report.refused) == (60, 0)
    assert report.answers == {"202": 60, "503": 9}
    assert set(gateway.asked.values()) == {1, 2}


async def test_an_order_that_is_refused_for_good_is_written_down_as_such(tmp_path: Path) -> None:
    """The ledger promises nothing that the gateway did not."""
    plan = LoadPlan(run_id="r", orders=1, concurrency=1, items=(OrderItem(sku="cable", qty=1),))
    ledger = tmp_path / "ledger.jsonl"
    async with (
        serving(lambda *_: web.json_response({}, status=422)) as (_, url),
        connected(url) as client,
    ):
        with LedgerWriter(ledger) as writer:
            report = await run_load(client, plan, writer, LoadReport())
    assert [(entry.event, entry.status) for entry in read_ledger(ledger)] == [
        (LedgerEvent.ATTEMPTED, None),
        (LedgerEvent.REFUSED, 422),
    ]
    assert report.refused == 1


async def test_a_rate_is_not_exceeded(tmp_path: Path) -> None:
    """Twenty orders at 200 per second take a tenth of a second, however many clients there are."""
    plan = LoadPlan(
        run_id="r", orders=21, concurrency=21, items=(OrderItem(sku="cable", qty=1),), rate_per_second=200
    )
    async with serving(accepted) as (_, url), connected(url, connections=21) as client:
        with LedgerWriter(tmp_path / "ledger.jsonl") as writer:
            report = await run_load(client, plan, writer, LoadReport())
    assert report.seconds >= 0.1


def test_a_ledger_that_was_cut_off_is_read_to_its_last_whole_line(tmp_path: Path) -> None:
    """A killed run leaves half a line, which says nothing."""
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_text('{"event":"acknowledged","id":"a"}\n{"event":"ackno', encoding="utf-8")
    assert [entry.order_id for entry in read_ledger(ledger)] == ["a"]


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    """Another file by mistake is an error that names the line."""
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_text('{"event":"acknowledged","id":"a"}\nhello\n', encoding="utf-8")
    with pytest.raises(OrderctlError, match="line 2"):
        list(read_ledger(ledger))


@pytest.mark.parametrize(("share", "expected"), [(0.5, 2.0), (0.75, 3.0), (0.99, 4.0), (1.0, 4.0)])
def test_percentiles_are_values_that_were_seen(share: float, expected: float) -> None:
    """The nearest rank, without invention between two values."""
    assert percentile([1.0, 2.0, 3.0, 4.0], share) == expected
    assert percentile([], share) == 0.0


async def test_what_became_of_the_orders_is_looked_up_once_they_are_decided() -> None:
    """A load that is acknowledged may be rejected for want of stock, and says so."""
    asked: dict[str, int] = {}

    async def show(request: web.Request) -> web.Response:
        order_id = request.match_info["id"]
        asked[order_id] = asked.get(order_id, 0) + 1
        if order_id == "never" or asked[order_id] == 1:
            return web.json_response({"status": "accepted", "decided_at": None})
        if order_id == "poor":
            return web.json_response(
                {"status": "rejected", "reason": "insufficient_stock", "decided_at": "2026-01-01T00:00:00Z"}
            )
        return web.json_response({"status": "created", "decided_at": "2026-01-01T00:00:00Z"})

    application = web.Application()
    application.router.add_get("/orders/{id}", show)
    async with TestServer(application) as server, connected(str(server.make_url("")).rstrip("/")) as client:
        became = await look_back(client, ["rich", "poor", "never"], 3, 0.5)
    assert became == {"created": 1, "rejected insufficient_stock": 1, "still open": 1}


def test_of_many_orders_some_are_looked_at_from_first_to_last() -> None:
    """So that a load of a million is not asked about for minutes."""
    assert evenly([str(number) for number in range(10)], 4) == ["0", "3", "6", "9"]
    assert evenly(["a", "b"], 4) == ["a", "b"]
    assert evenly([], 4) == []
