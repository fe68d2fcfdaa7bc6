"""Orders belong to the customer who placed them, and nobody else learns more than that an id is taken."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from shared.history.ownership import may_see, own_address
from shared.http.auth import ANONYMOUS_OPERATOR, NOBODY, AuthMode, Caller, Role
from tests.harness.http_gateway import Gateway, gateway, problem_of
from tests.harness.tokens import ADMIN, ALICE, BOB, OPERATOR, a_guard, bearer

OTHERS: Mapping[str, Caller | None] = {"another customer": BOB, "no token": None}
OPERATORS: Mapping[str, Caller] = {"operator": OPERATOR, "admin": ADMIN}


def headers_of(caller: Caller | None) -> Mapping[str, str]:
    """Made when they are sent: a token lasts for fifteen minutes, a run of all tests may last longer."""
    return {} if caller is None else bearer(caller)


@pytest.fixture
async def served() -> AsyncIterator[Gateway]:
    """A gateway that takes requests without a token, with an order of Alice's and one of nobody's."""
    async with gateway(guard=a_guard(AuthMode.OPTIONAL)) as running:
        assert (await running.post('{"id": "hers", "sku": "cable", "qty": 1}', **bearer(ALICE))).status == 202
        assert (await running.post('{"id": "nobodys", "sku": "cable", "qty": 1}')).status == 202
        yield running


async def ids(served: Gateway, headers: Mapping[str, str], query: str = "") -> list[str]:
    """What a list shows."""
    answer = await served.send("GET", f"/orders{query}", **headers)
    assert answer.status == 200
    return [order["id"] for order in (await answer.json())["orders"]]


async def test_an_order_belongs_to_whose_token_it_came_with(served: Gateway) -> None:
    """It is shown as the customer's, and told by the customer's own address where none was sent."""
    hers, nobodys = served.intake.placements
    assert (hers.customer, hers.order.email) == ("alice", "alice@example.com")
    assert (nobodys.customer, nobodys.order.email) == (None, None)
    shown = await (await served.send("GET", "/orders/hers", **bearer(ALICE))).json()
    assert shown["customer"] == "alice"
    assert "customer" not in await (await served.send("GET", "/orders/nobodys")).json()


async def test_an_address_that_is_sent_goes_before_the_own_one(served: Gateway) -> None:
    """A present, for instance."""
    body = '{"id": "present", "sku": "cable", "qty": 1, "email": "mum@example.com"}'
    assert (await served.post(body, **bearer(ALICE))).status == 202
    placed = served.intake.placements[-1]
    assert (placed.order.email, placed.sent) == ("mum@example.com", None)


async def test_an_operators_order_is_nobodys(served: Gateway) -> None:
    """Placed for somebody on the telephone."""
    assert (await served.post('{"id": "o", "sku": "cable", "qty": 1}', **bearer(OPERATOR))).status == 202
    assert (served.intake.placements[-1].customer, served.intake.placements[-1].order.email) == (None, None)


@pytest.mark.parametrize("who", OTHERS)
async def test_others_cannot_tell_it_from_one_that_is_not_there(served: Gateway, who: str) -> None:
    """The same 404, word by word."""
    answers = []
    for order_id in ("hers", "none"):
        answer = await served.send("GET", f"/orders/{order_id}", **headers_of(OTHERS[who]))
        assert answer.status == 404
        problem = await problem_of(answer)
        answers.append({name: problem[name] for name in ("type", "title", "detail")})
    assert answers[0] == answers[1]


async def test_an_order_of_nobody_is_no_customers_either(served: Gateway) -> None:
    """Only operators see it."""
    assert (await served.send("GET", "/orders/nobodys", **bearer(ALICE))).status == 404
    for headers in ({}, *(bearer(each) for each in OPERATORS.values())):
        assert (await served.send("GET", "/orders/nobodys", **headers)).status == 200


@pytest.mark.parametrize("who", OPERATORS)
async def test_operators_see_every_order(served: Gateway, who: str) -> None:
    """All of them, or those of one customer."""
    headers = bearer(OPERATORS[who])
    assert (await served.send("GET", "/orders/hers", **headers)).status == 200
    assert await ids(served, headers) == ["nobodys", "hers"]
    assert await ids(served, headers, "?customer=alice") == ["hers"]


async def test_a_list_shows_the_own_orders_alone(served: Gateway) -> None:
    """Whatever is asked for; without a token those that are nobody's."""
    assert await ids(served, bearer(ALICE)) == ["hers"]
    assert await ids(served, bearer(ALICE), "?customer=alice") == ["hers"]
    assert await ids(served, bearer(BOB)) == []
    assert await ids(served, bearer(BOB), "?customer=alice") == []
    assert await ids(served, {}) == ["nobodys"]
    assert await ids(served, {}, "?customer=alice") == []


@pytest.mark.parametrize("accept", ["application/json", "text/plain"])
@pytest.mark.parametrize("who", OTHERS)
async def test_of_an_id_that_is_anothers_only_that_is_told(served: Gateway, who: str, accept: str) -> None:
    """No status, no place, not whether it has the same content."""
    body = '{"id": "hers", "sku": "cable", "qty": 1}'
    answer = await served.post(body, **headers_of(OTHERS[who]), Accept=accept)
    assert answer.status == 409
    assert "Location" not in answer.headers
    if accept == "text/plain":
        assert await answer.text() == "Duplicate order"
    else:
        problem = await problem_of(answer)
        assert problem["title"] == "Duplicate order"
        assert not {"order_status", "same_content"} & set(problem)


async def test_the_own_duplicate_is_told_in_full(served: Gateway) -> None:
    """As ever, and to operators too."""
    body = '{"id": "hers", "sku": "cable", "qty": 1}'
    for headers in (bearer(ALICE), bearer(OPERATOR)):
        answer = await served.post(body, **headers)
        problem: dict[str, Any] = await problem_of(answer)
        assert problem["order_status"] == "created"
        assert answer.headers["Location"] == "/orders/hers"
    assert (await problem_of(await served.post(body, **bearer(ALICE))))["same_content"] is True


async def test_a_customers_parameter_must_be_one(served: Gateway) -> None:
    """It becomes a part of a key of the store."""
    answer = await served.send("GET", "/orders?customer=a%20b", **bearer(OPERATOR))
    assert answer.status == 400
    assert (await problem_of(answer))["errors"][0]["field"] == "customer"


def test_who_is_nobody_sees_nothing() -> None:
    """No route lets them so far; this is the second lock."""
    assert not may_see(NOBODY, None)
    assert not may_see(NOBODY, "alice")
    assert may_see(ANONYMOUS_OPERATOR, None)


def test_an_address_that_no_letter_can_reach_is_not_taken_from_a_token() -> None:
    """The order would be accepted, and its letter die."""
    assert own_address(Caller(id="a", email="a,b@example.com", role=Role.CUSTOMER)) is None
    assert own_address(Caller(id="a", email=None, role=Role.CUSTOMER)) is None
    assert own_address(ALICE) == ALICE.email
