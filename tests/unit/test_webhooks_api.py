"""The HTTP API of webhooks: each sees the own, secrets once, and what was delivered."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from shared.http.auth import AuthMode
from tests.harness.http_gateway import problem_of
from tests.harness.tokens import ADMIN, ALICE, BOB, OPERATOR, a_guard, bearer
from tests.harness.webhooks import WebhookWorld, served_webhooks, webhook_world
from webhooks.model import owner_of

URL = "https://receiver.example/hook"
EVERYTHING = 6


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[WebhookWorld]:
    """An empty one, in which an owner may have two endpoints."""
    async with webhook_world(f"sqlite:///{tmp_path}/webhooks.db", most=2) as made:
        yield made


@pytest.fixture
async def session(world: WebhookWorld) -> AsyncIterator[ClientSession]:
    """A client of the API over it."""
    async with served_webhooks(world, a_guard(AuthMode.OPTIONAL)) as opened:
        yield opened


async def asked(
    session: ClientSession,
    method: str,
    path: str,
    body: Any = None,
    who: Mapping[str, str] | None = None,
    status: int = 200,
) -> Any:
    """The answer's value, or its problem."""
    async with session.request(method, path, json=body, headers=who or bearer(ALICE)) as answer:
        assert answer.status == status, await answer.text()
        if status >= 400:
            return await problem_of(answer)
        return await answer.json() if status != 204 else None


async def created(session: ClientSession, who: Mapping[str, str] | None = None, **further: Any) -> Any:
    """A new webhook."""
    return await asked(session, "POST", "/webhooks", {"url": URL, **further}, who, 201)


async def test_a_secret_is_shown_when_it_is_made_and_never_again(session: ClientSession) -> None:
    """Another one by rotation, once too."""
    made = await created(session, description="shop", events=["order.created.v1", "order.created.v1"])
    path = f"/webhooks/{made['id']}"
    rotated = await asked(session, "POST", f"{path}/rotate")
    assert made["secret"].startswith("whsec_")
    assert rotated["secret"] not in (made["secret"], None)
    shown = await asked(session, "GET", path)
    assert shown == {key: value for key, value in made.items() if key != "secret"}
    assert shown["events"] == ["order.created.v1"]
    assert await asked(session, "GET", "/webhooks") == {"webhooks": [shown]}
    changed = await asked(session, "PATCH", path, {"description": "other"})
    assert changed == {**shown, "description": "other"}


async def test_a_webhook_is_for_its_owner_alone(session: ClientSession) -> None:
    """Operators have theirs together, those without a token another: to all others it is not there."""
    for owner, others in (
        (bearer(ALICE), (bearer(BOB), bearer(OPERATOR), {"X-None": "1"})),
        (bearer(OPERATOR), (bearer(ALICE), {"X-None": "1"})),
        ({"X-None": "1"}, (bearer(ALICE), bearer(OPERATOR))),
    ):
        made = await created(session, owner)
        path = f"/webhooks/{made['id']}"
        for other in others:
            for method, place, body in (
                ("GET", path, None),
                ("PATCH", path, {"enabled": False}),
                ("DELETE", path, None),
                ("POST", f"{path}/rotate", None),
                ("GET", f"{path}/deliveries", None),
                ("POST", f"{path}/resend", {"sequence": 1}),
                ("POST", f"{path}/recover", {"since": "2020-01-01T00:00:00Z"}),
            ):
                await asked(session, method, place, body, other, 404)
            assert made["id"] not in str(await asked(session, "GET", "/webhooks", who=other))
        await asked(session, "GET", path, who=owner)
    assert len((await asked(session, "GET", "/webhooks", who=bearer(ADMIN)))["webhooks"]) == 1


async def test_an_owner_has_a_bounded_number(session: ClientSession) -> None:
    """One that is removed makes room."""
    made = [await created(session) for _ in range(2)]
    problem = await asked(session, "POST", "/webhooks", {"url": URL}, status=409)
    assert problem["type"] == "/problems/too-many-webhooks"
    await asked(session, "DELETE", f"/webhooks/{made[0]['id']}", status=204)
    assert len((await created(session))["events"]) == EVERYTHING


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": "http://receiver.example/"}, "url"),
        ({"url": "https://127.0.0.1/"}, "url"),
        ({"url": URL, "events": []}, "events"),
        ({"url": URL, "events": ["order.placed.v1"]}, "events.0"),
        ({"url": URL, "events": "order.created.v1"}, "events"),
        ({"url": URL, "description": "a\nb"}, "description"),
        ({"url": URL, "secret": "whsec_mine"}, "secret"),
    ],
)
async def test_a_body_that_is_wrong_is_refused_by_the_name_of_its_field(
    session: ClientSession, body: Any, field: str
) -> None:
    """And nothing is made of it, nor changed."""
    problem = await asked(session, "POST", "/webhooks", body, status=422)
    assert [each["field"] for each in problem["errors"]] == [field]
    assert await asked(session, "GET", "/webhooks") == {"webhooks": []}


async def test_a_change_is_checked_as_well(session: ClientSession) -> None:
    """A url that leads inside, no field at all, or an event that there is not."""
    path = f"/webhooks/{(await created(session))['id']}"
    for change in ({}, {"url": "https://10.0.0.1/"}, {"events": ["x"]}, {"enabled": "yes"}):
        await asked(session, "PATCH", path, change, status=422)
    for unknown in ("/webhooks/none", "/webhooks/%00", "/webhooks/a%2Fb", "/webhooks/" + "x" * 99):
        await asked(session, "GET", unknown, status=404)


async def test_the_log_shows_deliveries_and_sends_them_again(
    world: WebhookWorld, session: ClientSession
) -> None:
    """With each attempt; newest first, page by page."""
    made = await created(session)
    path = f"/webhooks/{made['id']}"
    world.receivers.answers[URL] = 500
    await world.record("o1:order.created.v1", "o2:order.created.v1", customer="alice")
    await world.record("o3:order.created.v1", customer="bob")
    await world.send()
    page = await asked(session, "GET", f"{path}/deliveries?limit=1")
    (shown,) = page["deliveries"]
    (attempt,) = shown.pop("latest")
    assert (attempt["status"], attempt["error"], attempt["milliseconds"]) == (500, None, 1)
    assert shown == {
        "sequence": 2,
        "webhook_id": f"{made['id']}_2",
        "event_id": "o2:order.created.v1",
        "event_type": "order.created.v1",
        "order_id": "o2",
        "status": "pending",
        "created_at": "2027-01-15T08:00:00Z",
        "next_attempt_at": "2027-01-15T08:00:05Z",
        "attempts": 1,
    }
    rest = await asked(session, "GET", f"{path}/deliveries?limit=1&cursor={page['next_cursor']}")
    assert [each["sequence"] for each in rest["deliveries"]] == [1]
    assert rest["next_cursor"] is None
    world.receivers.answers[URL] = 200
    world.clock.pass_by(60)
    await world.send()
    assert (await asked(session, "GET", f"{path}/deliveries?status=pending"))["deliveries"] == []
    again = await asked(session, "POST", f"{path}/resend", {"sequence": 2}, status=202)
    assert (again["status"], again["attempts"]) == ("pending", 2)
    await asked(session, "POST", f"{path}/resend", {"sequence": 3}, status=404)
    for query in ("status=lost", "cursor=eA", "limit=0", "order=x"):
        await asked(session, "GET", f"{path}/deliveries?{query}", status=400)


async def test_what_a_disabled_webhook_missed_is_recovered_once_it_is_enabled(
    world: WebhookWorld, session: ClientSession
) -> None:
    """Not before, and since the time that is named."""
    path = f"/webhooks/{(await created(session))['id']}"
    off = await asked(session, "PATCH", path, {"enabled": False})
    assert (off["enabled"], off["disabled_reason"]) == (False, "disabled by its owner")
    await world.record("o1:order.created.v1", customer="alice")
    for action, body in (("recover", {"since": "2020-01-01T00:00:00Z"}), ("resend", {"sequence": 1})):
        problem = await asked(session, "POST", f"{path}/{action}", body, status=409)
        assert problem["type"] == "/problems/webhook-disabled"
    await asked(session, "PATCH", path, {"enabled": True})
    await asked(session, "POST", f"{path}/recover", {"since": "yesterday"}, status=422)
    late = {"since": "2027-01-15T08:00:01+00:00"}
    assert (await asked(session, "POST", f"{path}/recover", late, status=202))["deliveries"] == 0
    early = {"since": "2027-01-15T09:00:00+01:00"}
    assert (await asked(session, "POST", f"{path}/recover", early, status=202))["deliveries"] == 1
    await world.send()
    assert world.receivers.of(URL) == [1]
    assert len(await world.endpoints.of_owner(owner_of("alice"))) == 1
