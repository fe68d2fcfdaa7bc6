"""``GET /stats`` at the gateway, and the parts of services that it is made of."""

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from shared.http.auth import AuthMode
from shared.http.client import ServiceAnswer
from tests.harness.catalogue import Backstage, catalogue, without_hurry
from tests.harness.http_gateway import Gateway, MemoryService, gateway, problem_of
from tests.harness.tokens import ALICE, OPERATOR, a_guard, bearer

ORDERS = {"orders": {"created": 1}, "revenue": {}, "best_sellers": [], "days": []}
USERS = {"users": {"customer": 3}}


@pytest.fixture
async def served() -> AsyncIterator[Gateway]:
    """A gateway before services that know their part, but for the catalogue, which has trouble."""
    async with gateway(guard=a_guard(AuthMode.OPTIONAL)) as running:
        knows(running.ledger, "/orders/stats?days=30", ORDERS)
        knows(running.accounts, "/users/stats", USERS)
        yield running


def knows(service: MemoryService, path: str, value: object, status: int = 200) -> None:
    """Has a service answer that."""
    headers = {"Content-Type": "application/json"}
    service.answers["GET", path] = ServiceAnswer(status=status, headers=headers, body=orjson.dumps(value))


async def test_the_parts_of_all_services_are_one_answer(served: Gateway) -> None:
    """Each asked on behalf of the client; one that cannot say its part is named."""
    answer = await served.send("GET", "/stats", **bearer(OPERATOR))
    assert answer.status == 200
    assert await answer.json() == {
        "orders": ORDERS,
        "users": USERS,
        "notes": {"products": "it answered 404"},
    }
    assert all(headers["Authorization"] for _, _, headers, _ in served.ledger.asked)


async def test_the_days_that_are_asked_for_are_handed_on(served: Gateway) -> None:
    """What else is asked for is refused, as by every list."""
    knows(served.ledger, "/orders/stats?days=7", {**ORDERS, "revenue": {"EUR": 1}})
    told = await (await served.send("GET", "/stats?days=7", **bearer(OPERATOR))).json()
    assert told["orders"]["revenue"] == {"EUR": 1}
    for query in ("days=0", "weeks=1"):
        problem = await problem_of(await served.send("GET", f"/stats?{query}", **bearer(OPERATOR)))
        assert (problem["status"], problem["errors"][0]["field"]) == (400, query.partition("=")[0])


async def test_a_part_that_takes_a_token_is_missed_without_one(served: Gateway) -> None:
    """The others are there all the same."""
    knows(served.accounts, "/users/stats", {}, 401)
    told = await (await served.send("GET", "/stats")).json()
    assert (told["orders"], told["notes"]["users"]) == (ORDERS, "it takes a token")


async def test_a_service_behind_has_its_part_by_itself(served: Gateway) -> None:
    """Under both prefixes, with what is asked of it."""
    knows(served.ledger, "/orders/stats?days=7", ORDERS)
    for path in ("/orders/stats?days=7", "/api/v1/orders/stats?days=7", "/users/stats"):
        assert (await served.send("GET", path, **bearer(OPERATOR))).status == 200
        assert (await served.send("GET", path, **bearer(ALICE))).status == 403
    assert (await served.send("GET", "/stats", **bearer(ALICE))).status == 403


async def test_no_order_takes_the_place_of_the_statistics(served: Gateway) -> None:
    """Its own address would show something else."""
    for body in (
        '{"id": "stats", "sku": "cable", "qty": 1}',
        '{"id": "stats", "items": [{"sku": "cable", "qty": 1}]}',
    ):
        problem = await problem_of(await served.post(body))
        assert (problem["status"], problem["errors"][0]["field"]) == (422, "id")
    assert served.intake.placements == []


async def test_the_catalogue_counts_products_and_hits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Since the process was started."""
    without_hurry(monkeypatch)
    async with catalogue(Backstage(f"sqlite:///{tmp_path}/catalogue.db")) as replica:
        assert (await replica.seen("/products/stats"))[1]["cache_hit_rate"] is None
        await replica.create()
        for _ in range(4):
            await replica.seen("/products/phone-case")
        _, told = await replica.seen("/products/stats")
        assert told == {
            "products": 1,
            "reads": {"hit": 3, "miss": 1, "stale": 0, "bypass": 0},
            "cache_hit_rate": 0.75,
        }
