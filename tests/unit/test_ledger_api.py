"""The ledger's HTTP API: the same orders and the same rights as at the gateway."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from ledger.store import LedgerStore
from shared.http.auth import AuthMode
from shared.orders.model import OrderStatus
from shared.sql.database import open_database
from shared.sql.migrations import migrations_of
from tests.harness.http_gateway import problem_of
from tests.harness.ledger import AT, a_record, keep, served_ledger
from tests.harness.tokens import ALICE, BOB, OPERATOR, a_guard, bearer

TOLD = (("accepted", ""), ("created", ""), ("notified", "order.created.v1 log"))
NEW_YEAR = 1_704_067_200_000_000
"""The first microsecond of 2024."""


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[ClientSession]:
    """A ledger with an order of Alice's and two of nobody's."""
    url, folder = f"sqlite:///{tmp_path}/ledger.db", migrations_of("ledger")
    async with open_database(url, folder, timeout_seconds=30) as database:
        await database.look()
        hers = a_record("hers", customer="alice", steps=TOLD, amounts={"cable": 150}, items={"cable": 2})
        nobodys = a_record("nobodys", at=AT + 5, steps=TOLD)
        late = a_record("late", at=NEW_YEAR, status=OrderStatus.CANCELLED)
        await keep(LedgerStore(database), hers, nobodys, late)
        async with served_ledger(database, a_guard(AuthMode.OPTIONAL)) as session:
            yield session


async def asked(session: ClientSession, path: str, headers: Mapping[str, str] | None = None) -> Any:
    """The answer, which is 200."""
    async with session.get(path, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def ids(session: ClientSession, query: str = "", headers: Mapping[str, str] | None = None) -> list[str]:
    """What a list shows."""
    return [order["id"] for order in (await asked(session, f"/orders{query}", headers))["orders"]]


async def test_an_order_looks_as_it_does_at_the_gateway(served: ClientSession) -> None:
    """But for what the ledger does not keep, which is null."""
    async with served.get("/orders/hers", headers=bearer(ALICE)) as answer:
        assert answer.headers["ETag"] == '"3"'
        shown = await answer.json()
    assert shown == {
        "id": "hers",
        "status": "created",
        "items": [{"sku": "cable", "qty": 2, "unit_amount": 150, "name": "A thing"}],
        "email": None,
        "reason": None,
        "sku": None,
        "accepted_at": "2023-11-14T22:13:20Z",
        "decided_at": None,
        "next_attempt_at": None,
        "correlation_id": None,
        "links": {"self": "/orders/hers"},
        "customer": "alice",
        "currency": "EUR",
        "amount_total": 300,
        "notifications": [
            {
                "channel": "log",
                "status": "sent",
                "unconfirmed": False,
                "collected": False,
                "sending_at": None,
                "sent_at": "2023-11-14T22:13:20.000002Z",
                "error": None,
            }
        ],
        "timeline": [
            {
                "step": step,
                "at": f"2023-11-14T22:13:20{at}Z",
                "reason": reason,
                "attempts": None,
                "by": None,
            }
            for step, at, reason in (
                ("accepted", "", None),
                ("created", ".000001", None),
                ("notified", ".000002", "order.created.v1 log"),
            )
        ],
    }


async def test_orders_and_what_was_told_of_them_are_shown_to_who_may_see_them(served: ClientSession) -> None:
    """A customer the own, an operator all, without a token those of no customer."""
    for who, seen in (
        (bearer(ALICE), ["hers"]),
        (bearer(BOB), []),
        ({}, ["late", "nobodys"]),
        (bearer(OPERATOR), ["late", "nobodys", "hers"]),
    ):
        assert await ids(served, headers=who) == seen
        told = (await asked(served, "/notifications", who))["notifications"]
        assert [each["order_id"] for each in told] == [each for each in seen if each != "late"]
        for order_id in ("hers", "nobodys"):
            async with served.get(f"/orders/{order_id}", headers=who) as answer:
                assert answer.status == (200 if order_id in seen else 404)
    assert await ids(served, "?customer=alice", bearer(BOB)) == []
    assert await ids(served, "?customer=alice", bearer(OPERATOR)) == ["hers"]


async def test_pages_follow_one_another(served: ClientSession) -> None:
    """By a cursor that the gateway's list takes too; so does what was told."""
    first = await asked(served, "/orders?limit=2", bearer(OPERATOR))
    second = await asked(served, f"/orders?limit=2&cursor={first['next_cursor']}", bearer(OPERATOR))
    assert [order["id"] for order in (*first["orders"], *second["orders"])] == ["late", "nobodys", "hers"]
    assert second["next_cursor"] is None
    told = await asked(served, "/notifications?limit=1", bearer(OPERATOR))
    path = f"/notifications?limit=1&cursor={told['next_cursor']}"
    assert [each["order_id"] for each in (await asked(served, path, bearer(OPERATOR)))["notifications"]] == [
        "hers"
    ]


@pytest.mark.parametrize(
    ("query", "seen"),
    [
        ("?from=2024-01-01T00:00:00Z", ["late"]),
        ("?from=2024-01-01T01:00:00%2B01:00", ["late"]),
        ("?to=2024-01-01T00:00:00Z", ["nobodys"]),
        ("?from=2023-11-14t22:13:20.000005z&to=2023-11-14T22:13:20.000006Z", ["nobodys"]),
        ("?status=cancelled", ["late"]),
        ("?trouble=dead", []),
    ],
)
async def test_lists_are_filtered(served: ClientSession, query: str, seen: list[str]) -> None:
    """By time, the former included, and by where an order stands."""
    assert await ids(served, query) == seen


async def test_statistics_are_an_operators(served: ClientSession) -> None:
    """They name no order, and a customer is told none of them."""
    async with served.get("/orders/stats", headers=bearer(ALICE)) as answer:
        assert (await problem_of(answer))["type"] == "/problems/forbidden"
    assert await asked(served, "/orders/stats", bearer(OPERATOR)) == {
        "orders": {"cancelled": 1, "created": 2},
        "revenue": {"EUR": 300},
        "best_sellers": [{"sku": "cable", "qty": 3}],
        "days": [],
    }


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/orders?from=2024-01-01", "from"),
        ("/orders?to=2024-13-01T00:00:00Z", "to"),
        ("/orders?to=2024-01-01T00:00:00", "to"),
        ("/orders?cursor=nonsense", "cursor"),
        ("/notifications?order_id=a%20b", "order_id"),
        ("/notifications?cursor=nonsense", "cursor"),
        ("/notifications?page=2", "page"),
        ("/orders/stats?days=0", "days"),
        ("/orders/stats?days=367", "days"),
    ],
)
async def test_a_wrong_parameter_is_400_and_named(served: ClientSession, path: str, field: str) -> None:
    """Nothing is clipped or ignored in silence."""
    async with served.get(path) as answer:
        problem = await problem_of(answer)
        assert (answer.status, [error["field"] for error in problem["errors"]]) == (400, [field])
