"""Looking at orders: one with its timeline, or all of them page by page."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from api_gateway.app import LISTS_AT_ONCE
from shared.errors import StoreUnavailable
from shared.history.listing import order_cursor
from shared.http.client import ServiceAnswer
from shared.http.limits import HEAVY_PER_CLIENT, LONGEST_WAIT_SECONDS, HttpLimits
from shared.orders.model import OrderStatus
from shared.orders.ports import Cursor
from tests.harness.http_gateway import Gateway, gateway, problem_of
from tests.harness.waiting import wait_until


@pytest.fixture
async def served() -> AsyncIterator[Gateway]:
    """A gateway with five orders."""
    async with gateway() as running:
        for number in range(5):
            body = f'{{"id": "o{number}", "email": "a@b.example", "sku": "cable", "qty": 2}}'
            await running.post(body, X_Correlation_ID=f"c{number}")
        yield running


async def test_an_order_is_shown_in_full(served: Gateway) -> None:
    """With times in UTC, in RFC 3339 with a Z, and every field even where it is null."""
    answer = await served.send("GET", "/orders/o3")
    assert answer.status == 200
    assert await answer.json() == {
        "id": "o3",
        "status": "accepted",
        "items": [{"sku": "cable", "qty": 2}],
        "email": "a@b.example",
        "reason": None,
        "sku": None,
        "accepted_at": "2025-01-02T03:04:05.600000Z",
        "decided_at": None,
        "next_attempt_at": None,
        "correlation_id": "c3",
        "notifications": [],
        "timeline": [
            {
                "step": "accepted",
                "at": "2025-01-02T03:04:05.600000Z",
                "reason": None,
                "attempts": None,
                "by": None,
            }
        ],
        "links": {"self": "/orders/o3"},
    }


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        (
            {"status": "sending", "channel": "smtp", "sending_at": "0", "unconfirmed": "1"},
            ("sending", True, False, "1970-01-01T00:00:00Z", None),
        ),
        (
            {"status": "sending", "channel": "smtp", "collected": "5", "last_error": "too many"},
            ("sending", False, True, None, "too many"),
        ),
        ({"status": "sent", "channel": "log", "sent_at": "0"}, ("sent", False, False, None, None)),
        ({"status": "by hand"}, None),
        ({"status": "sent", "sent_at": "yesterday"}, None),
        ({"status": "sent", "sent_at": "9" * 30}, None),
    ],
)
async def test_an_order_shows_what_its_customer_was_told(
    served: Gateway, fields: dict[str, str], shown: tuple[object, ...] | None
) -> None:
    """A letter without an answer, or one that waits for its hour, says so; nonsense is left out."""
    served.orders.notifications["o3"] = fields
    told = (await (await served.send("GET", "/orders/o3")).json())["notifications"]
    names = ("status", "unconfirmed", "collected", "sending_at", "error")
    assert [tuple(each[name] for name in names) for each in told] == ([shown] if shown else [])


async def test_an_unknown_order_is_404(served: Gateway) -> None:
    """As a problem."""
    assert (await problem_of(await served.send("GET", "/orders/o9")))["type"] == "/problems/not-found"


async def test_an_impossible_order_is_404_even_while_the_store_is_away(served: Gateway) -> None:
    """Nobody is asked."""
    served.orders.fault = StoreUnavailable("away")
    assert (await served.send("GET", "/orders/.o1")).status == 404
    refused = await served.send("GET", "/orders/o1")
    assert refused.status == 503
    assert "same id" not in await refused.text()  # a look may have done nothing


async def test_an_order_that_the_store_has_forgotten_is_the_ledgers(served: Gateway) -> None:
    """It is asked on behalf of the client, and only where the store has none."""
    headers = {"Content-Type": "application/json"}
    served.ledger.answers["GET", "/orders/old"] = ServiceAnswer(status=200, headers=headers, body=b'{"id":1}')
    assert await (await served.send("GET", "/api/v1/orders/old")).json() == {"id": 1}
    assert (await served.send("GET", "/orders/o3")).status == 200
    assert (await served.send("GET", "/orders/none")).status == 404
    assert [path for _, path, _, _ in served.ledger.asked] == ["/orders/old", "/orders/none"]


async def test_while_the_ledger_is_away_the_list_says_so_and_what_is_new_is_there(served: Gateway) -> None:
    """Whether an order that the store does not have is there is not known then."""
    served.ledger.reason = "it is away"
    listed = await (await served.send("GET", "/orders")).json()
    assert [order["id"] for order in listed["orders"]] == ["o4", "o3", "o2", "o1", "o0"]
    assert (listed["complete"], listed["note"]) == (False, "Older orders may be missing. ledger: it is away.")
    assert (await served.send("GET", "/orders/o3")).status == 200
    problem = await problem_of(await served.send("GET", "/orders/none"))
    assert (problem["status"], problem["service"]) == (503, "ledger")


async def test_the_list_is_newest_first(served: Gateway) -> None:
    """Fifty at most, of any status, where nothing is said."""
    answer = await served.send("GET", "/orders")
    listed = await answer.json()
    assert [order["id"] for order in listed["orders"]] == ["o4", "o3", "o2", "o1", "o0"]
    assert listed["next_cursor"] is None
    assert served.orders.queries == [(None, 50, None)]


async def test_following_the_cursor_shows_every_order_once(served: Gateway) -> None:
    """The cursor needs no escaping in a URL."""
    seen: list[str] = []
    path = "/orders?limit=2"
    while path:
        listed = await (await served.send("GET", path)).json()
        seen += [order["id"] for order in listed["orders"]]
        cursor = listed["next_cursor"]
        path = f"/orders?limit=2&cursor={cursor}" if cursor else ""
    assert seen == ["o4", "o3", "o2", "o1", "o0"]


@pytest.mark.parametrize("order_id", ["a", "A.b_c-9", "x" * 64, "xx", "xxx"])
async def test_a_cursor_comes_back_as_it_was_given_out(served: Gateway, order_id: str) -> None:
    """Whatever its length."""
    now = round(datetime(2025, 1, 2, tzinfo=UTC).timestamp() * 1_000_000)
    cursor = Cursor(accepted_at=now, order_id=order_id)
    await served.post(f'{{"id": "{order_id}", "sku": "cable", "qty": 1}}')
    answer = await served.send("GET", f"/orders?cursor={order_cursor(cursor.accepted_at, cursor.order_id)}")
    assert answer.status == 200
    assert served.orders.queries[-1][2] == cursor


@pytest.mark.parametrize("status", list(OrderStatus))
async def test_any_status_can_be_asked_for(served: Gateway, status: OrderStatus) -> None:
    """The five that an order can have."""
    assert (await served.send("GET", f"/orders?status={status}&limit=200")).status == 200
    assert served.orders.queries == [(status, 200, None)]


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("limit=0", ["limit"]),
        ("limit=201", ["limit"]),
        ("limit=-1", ["limit"]),
        ("limit=", ["limit"]),
        ("limit=1e2", ["limit"]),
        ("limit=%D9%A1", ["limit"]),
        ("limit=1_0", ["limit"]),
        ("limit=99999999999999999999", ["limit"]),
        ("limit=5&limit=5", ["limit"]),
        ("status=unknown", ["status"]),
        ("status=ACCEPTED", ["status"]),
        ("status=", ["status"]),
        ("status=created&status=dead", ["status"]),
        ("cursor=", ["cursor"]),
        ("cursor=nonsense", ["cursor"]),
        ("cursor=%FF", ["cursor"]),
        ("cursor=MTIzOi4u", ["cursor"]),
        ("cursor=" + "A" * 500, ["cursor"]),
        ("page=2", ["page"]),
        ("Limit=2", ["Limit"]),
        ("=", [""]),
        ("limit=0&status=x&cursor=y&z=1", ["z", "status", "limit", "cursor"]),
    ],
)
async def test_a_wrong_parameter_is_400_and_named(served: Gateway, query: str, fields: list[str]) -> None:
    """Nothing is clipped or ignored in silence."""
    answer = await served.send("GET", f"/orders?{query}")
    problem = await problem_of(answer)
    assert (answer.status, problem["type"]) == (400, "/problems/invalid-parameter")
    assert [error["field"] for error in problem["errors"]] == fields
    assert served.orders.queries == []


async def test_head_answers_like_get_without_a_body(served: Gateway) -> None:
    """Status and headers are those of GET."""
    for path in ("/orders", "/orders/o1", "/inventory", "/openapi.json", "/docs"):
        answer = await served.send("HEAD", path)
        assert answer.status == 200
        assert int(answer.headers["Content-Length"]) > 0
        assert await answer.read() == b""


async def test_lists_have_places_of_their_own() -> None:
    """Reading one order is turned away while as many requests as may are at work; lists are not."""
    async with gateway(HttpLimits(max_concurrent_requests=1)) as served:
        served.intake.gate = asyncio.Event()
        inside = asyncio.ensure_future(served.post('{"id": "o", "sku": "cable", "qty": 2}'))
        await wait_until(lambda: served.intake.waiting == 1)
        assert (await served.send("GET", "/orders/o")).status == 503
        for path in ("/orders", "/inventory"):
            assert (await served.send("GET", path)).status == 200
        served.intake.gate.set()
        assert (await inside).status == 202


async def test_lists_beyond_their_places_wait_a_second_and_no_order_waits_for_them(served: Gateway) -> None:
    """Told at once that there is no place, a client would ask again at once; orders go on meanwhile."""
    served.orders.gate = asyncio.Event()
    began = time.monotonic()
    lists = [asyncio.ensure_future(served.send("GET", "/orders")) for _ in range(HEAVY_PER_CLIENT + 20)]
    await wait_until(lambda: served.orders.waiting == LISTS_AT_ONCE)
    assert (await served.post('{"id": "other", "sku": "cable", "qty": 2}')).status == 202
    await wait_until(lambda: sum(each.done() for each in lists) == len(lists) - LISTS_AT_ONCE)
    assert time.monotonic() - began >= LONGEST_WAIT_SECONDS
    served.orders.gate.set()
    statuses = Counter([answer.status for answer in await asyncio.gather(*lists)])
    assert statuses == {200: LISTS_AT_ONCE, 503: len(lists) - LISTS_AT_ONCE}


async def test_no_list_waits_longer_than_a_second_for_its_turn(served: Gateway) -> None:
    """A store that hangs must not collect requests."""
    served.orders.gate = asyncio.Event()
    at_work = [asyncio.ensure_future(served.send("GET", "/orders")) for _ in range(LISTS_AT_ONCE)]
    await wait_until(lambda: served.orders.waiting == LISTS_AT_ONCE)
    began = time.monotonic()
    problem = await problem_of(await served.send("GET", "/inventory"))
    assert (problem["type"], problem["status"]) == ("/problems/too-busy", 503)
    assert LONGEST_WAIT_SECONDS <= time.monotonic() - began < 5
    served.orders.gate.set()
    assert {answer.status for answer in await asyncio.gather(*at_work)} == {200}
    assert (await served.send("GET", "/inventory")).status == 200


async def test_small_bodies_get_between_large_ones(served: Gateway) -> None:
    """Large ones are parsed one by one, each in a turn of the loop of its own."""
    large = json.dumps({f"k{number}": 1 for number in range(5_000)})
    bodies = [large] * 12 + ['{"id": "small", "sku": "cable", "qty": 2}']
    answered: list[int] = []

    async def send(body: str) -> None:
        answered.append((await served.post(body)).status)

    await asyncio.gather(*map(send, bodies))
    assert Counter(answered) == {422: 12, 202: 1}
    assert answered.index(202) < 6
