"""Dead letters over HTTP: who may ask, what can be asked, and what the answers say."""

import io
import itertools
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
import pytest
import structlog
from aiohttp import ClientResponse, ClientSession

from dashboard.dead_letters import desk
from dashboard.dead_letters.letter import DEAD_QUEUES
from shared.http.guard import COOKIE
from shared.messaging.ports import OutgoingMessage
from shared.pipeline import ORDER_PROCESSOR
from tests.harness.afterlife import Afterlife, afterlife
from tests.harness.dead_dashboard import serving
from tests.harness.examples import an_order
from tests.harness.tokens import ADMIN, ALICE, OPERATOR, bearer, forged, token

TOKEN = "a token of the tests"
OPEN = {"/", "/attention", "/metrics", "/livez", "/healthz", "/readyz", "/openapi.json", "/docs"}
LETTER = "orders.dead:order1:order.placed.v1"


@pytest.fixture
async def world() -> AsyncIterator[Afterlife]:
    """Three dead orders, of which one wants another SKU."""
    async with afterlife() as made:
        await made.stock("cable", "1e3")
        await made.stock("lamp", "none")
        for number, skus in enumerate(({"cable": 2}, {"cable": 1}, {"lamp": 1}), start=1):
            await made.accept(an_order(f"order{number}", email=None, **skus))
        await made.work()
        await made.stock("cable", 10)
        yield made


@pytest.fixture
async def session(world: Afterlife) -> AsyncIterator[ClientSession]:
    """A session with a dashboard on loopback, without a token."""
    async with serving(world) as made:
        yield made


async def problem_of(answer: ClientResponse, status: int) -> dict[str, Any]:
    """The problem in an answer, after checking that it is one."""
    assert answer.status == status, await answer.text()
    assert answer.content_type == "application/problem+json"
    found: dict[str, Any] = await answer.json(content_type=None)
    assert {"type", "title", "status", "detail", "instance", "correlation_id"} <= set(found)
    return found


async def act(session: ClientSession, action: str, body: Mapping[str, Any], **headers: str) -> dict[str, Any]:
    """Asks for an action and returns what it came to."""
    async with session.post(f"/dead/{action}", json=body, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        result: dict[str, Any] = await answer.json()
        return result


async def ids(session: ClientSession, **query: str) -> list[str]:
    """The orders of the letters that a query finds."""
    async with session.get("/dead", params=query) as answer:
        assert answer.status == 200, await answer.text()
        return [letter["order_id"] for letter in (await answer.json())["letters"]]


async def test_the_list_shows_letters_and_how_many_lie_where(session: ClientSession) -> None:
    """In the order in which they lie; nothing of it may be stored on the way."""
    async with session.get("/dead") as answer:
        shown = await answer.json()
        assert answer.headers["Cache-Control"] == "no-store"
    assert [letter["order_id"] for letter in shown["letters"]] == ["order1", "order2", "order3"]
    assert shown["queues"] == {**dict.fromkeys(DEAD_QUEUES, 0), "orders.dead": 3}
    assert (shown["more"], shown["complete"]) == (False, True)
    assert shown["letters"][0]["last_failed_at"].endswith("Z")


async def test_the_list_can_be_narrowed(session: ClientSession) -> None:
    """By queue, reason, SKU and age, and by a limit that says so."""
    assert await ids(session, sku="lamp") == ["order3"]
    assert await ids(session, queue="notifier.dead") == []
    assert await ids(session, reason="broken_stock") == ["order1", "order2", "order3"]
    assert await ids(session, older_than="1h") == []
    assert await ids(session, younger_than="1h", sku="cable") == ["order1", "order2"]
    async with session.get("/dead", params={"limit": "2"}) as answer:
        shown = await answer.json()
    assert ([letter["order_id"] for letter in shown["letters"]], shown["more"]) == (
        ["order1", "order2"],
        True,
    )


async def test_the_list_is_no_longer_than_a_mebibyte(
    session: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says that there are more; at least one letter is always shown."""
    for letter_bytes, shown_ids in ((400_000, ["order1", "order2"]), (2_000_000, ["order1"])):
        monkeypatch.setattr(desk, "BYTES_BESIDE_BODY", letter_bytes)
        async with session.get("/dead") as answer:
            shown = await answer.json()
        assert [letter["order_id"] for letter in shown["letters"]] == shown_ids
        assert shown["more"]


async def test_one_letter_by_its_id_or_its_orders(session: ClientSession) -> None:
    """Both are what an operator may have at hand."""
    for name in (LETTER, "order1"):
        async with session.get(f"/dead/{name}") as answer:
            assert (answer.status, (await answer.json())["id"]) == (200, LETTER)
    async with session.get("/dead/order9") as answer:
        await problem_of(answer, 404)


async def test_a_redrive_by_id_says_what_it_did(session: ClientSession, world: Afterlife) -> None:
    """Asked again, it finds nothing, which is no error."""
    result = await act(session, "redrive", {"ids": [LETTER, "order9"]})
    assert (result["matched"], result["done"], result["failed"]) == (1, 1, 0)
    assert result["not_found"] == ["order9"]
    assert [(each["order_id"], each["outcome"]) for each in result["letters"]] == [("order1", "redriven")]
    await world.work()
    assert (await world.order("order1")).status == "created"
    again = await act(session, "redrive", {"ids": [LETTER]})
    assert (again["matched"], again["not_found"]) == (0, [LETTER])


async def test_a_drop_of_all_that_a_filter_means(session: ClientSession, world: Afterlife) -> None:
    """The others stay."""
    result = await act(session, "drop", {"all": True, "sku": "cable"})
    assert (result["done"], result["complete"]) == (2, True)
    await world.work()
    assert ((await world.order("order2")).status, (await world.order("order2")).reason) == (
        "rejected",
        "dropped",
    )
    assert await ids(session) == ["order3"]


async def test_a_dry_run_shows_what_would_be_done(session: ClientSession) -> None:
    """And does not do it."""
    result = await act(session, "drop", {"all": True, "dry_run": True})
    assert (result["dry_run"], result["matched"], result["done"]) == (True, 3, 0)
    assert {each["outcome"] for each in result["letters"]} == {"untouched"}
    assert len(await ids(session)) == 3


async def test_an_action_can_be_followed_line_by_line(session: ClientSession) -> None:
    """First how many letters there are, then each as it is dealt with, then the sum."""
    headers = {"Accept": "application/x-ndjson", "X-Correlation-ID": "followed"}
    async with session.post("/dead/redrive", json={"all": True}, headers=headers) as answer:
        assert answer.content_type == "application/x-ndjson"
        assert answer.headers["X-Correlation-ID"] == "followed"
        assert "Content-Security-Policy" in answer.headers
        lines = [orjson.loads(line) async for line in answer.content]
    assert lines[0] == {"queue": "orders.dead", "waiting": 3}
    assert [line["letter"]["order_id"] for line in lines if "letter" in line] == [
        "order1",
        "order2",
        "order3",
    ]
    assert (lines[-1]["summary"]["done"], lines[-1]["summary"]["fault"]) == (3, None)


async def test_every_action_leaves_an_audit_line_per_letter(session: ClientSession) -> None:
    """Who did what to which letter, under the correlation id of the request."""
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        await act(session, "drop", {"ids": ["order1"]}, **{"X-Correlation-ID": "operator-7"})
    asked, done = [line for line in logs if line["event"] == "audit"]
    assert (asked["action"], asked["asked"]["ids"]) == ("drop asked for", ("order1",))
    assert (done["action"], done["outcome"], done["letter_id"]) == ("drop", "dropped", LETTER)
    assert (done["order_id"], done["client"], done["correlation_id"]) == ("order1", "127.0.0.1", "operator-7")
    assert done["order_correlation_id"] == "correlated"


async def test_an_action_that_no_broker_takes_is_refused_and_changes_nothing(
    session: ClientSession, world: Afterlife
) -> None:
    """With an advice to come again."""
    world.broker.go_down()
    async with session.post("/dead/redrive", json={"all": True}) as answer:
        problem = await problem_of(answer, 503)
        assert "Retry-After" in answer.headers
    assert problem["type"] == "/problems/broker-unavailable"
    async with session.get("/dead") as answer:
        await problem_of(answer, 503)
    world.broker.come_back()
    assert len(await ids(session)) == 3


@pytest.mark.parametrize("path", ["/dead", "/dead/order1"])
async def test_off_loopback_nothing_is_shown_without_a_token(world: Afterlife, path: str) -> None:
    """Whoever forgot to set one is told so."""
    async with serving(world, bound_to="0.0.0.0") as session, session.get(path) as answer:  # noqa: S104
        assert "DASHBOARD_TOKEN" in (await problem_of(answer, 403))["detail"]


async def test_with_a_token_only_who_has_it_is_let_in(world: Afterlife) -> None:
    """On loopback as well as elsewhere."""
    async with serving(world, token=TOKEN, bound_to="0.0.0.0") as session:  # noqa: S104
        for wrong in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
            async with session.get("/dead", headers=wrong) as answer:
                await problem_of(answer, 401)
                assert answer.headers["WWW-Authenticate"] == "Bearer"
            async with session.post("/dead/drop", json={"all": True}, headers=wrong) as answer:
                await problem_of(answer, 401)
        async with session.get("/dead", headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
            assert (answer.status, len((await answer.json())["letters"])) == (200, 3)


async def test_guessing_at_the_token_is_slowed_and_logged(world: Afterlife) -> None:
    """Per address, and told in few lines, of which none has a token in it."""
    async with serving(world, token=TOKEN) as session:
        with structlog.testing.capture_logs() as lines:
            statuses = []
            for number in range(50):
                async with session.get("/dead", headers={"Authorization": f"Bearer guess{number}"}) as answer:
                    statuses.append(answer.status)
            async with session.get("/dead", headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
                problem = await problem_of(answer, 429)
                assert answer.headers["Retry-After"] == "12"
    assert statuses == [401] * 5 + [429] * 45
    assert problem["type"] == "/problems/too-many-attempts"
    assert [line["event"] for line in lines if "token" in line["event"]] in ([], ["wrong dashboard token"])
    assert "guess" not in repr(lines)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1", "https://["])
async def test_a_page_of_another_origin_is_refused(session: ClientSession, origin: str) -> None:
    """A browser sends such requests with the page's origin."""
    async with session.post("/dead/drop", json={"all": True}, headers={"Origin": origin}) as answer:
        await problem_of(answer, 403)
    assert len(await ids(session)) == 3


async def test_a_page_of_our_own_is_let_in(session: ClientSession) -> None:
    """Same origin, same machine."""
    origin = str(session._base_url).rstrip("/")
    assert (await act(session, "drop", {"all": True}, Origin=origin))["done"] == 3


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "["])
async def test_a_name_that_was_made_to_point_here_is_refused(session: ClientSession, host: str) -> None:
    """DNS rebinding: to the browser such a page is of the same origin."""
    async with session.get("/dead", headers={"Host": host}) as answer:
        assert answer.status in (400, 421)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_body_that_a_form_could_send_is_refused(session: ClientSession, kind: str) -> None:
    """Only JSON takes a browser through a preflight."""
    async with session.post("/dead/drop", data=b'{"all": true}', headers={"Content-Type": kind}) as answer:
        await problem_of(answer, 415)
    assert len(await ids(session)) == 3


@pytest.mark.parametrize(
    ("body", "status", "fields"),
    [
        (b"", 400, None),
        (b"{", 400, None),
        (b"[]", 422, {""}),
        (b"{}", 422, {""}),
        (b'{"ids": ["a"], "all": true}', 422, {""}),
        (b'{"ids": []}', 422, {"ids"}),
        (b'{"ids": "a"}', 422, {"ids"}),
        (b'{"ids": ["a", 7]}', 422, {"ids.1"}),
        (b'{"all": "yes"}', 422, {"all"}),
        (b'{"all": true, "dry_run": 1}', 422, {"dry_run"}),
        (b'{"all": true, "queue": "orders.queue"}', 422, {"queue"}),
        (b'{"all": true, "older_than": "soon", "limit": 0}', 422, {"older_than", "limit"}),
        (b'{"all": true, "sku": ""}', 422, {"sku"}),
        (b'{"all": true, "everything": true}', 422, {"everything"}),
        (b" " * 2_000_000, 413, None),
    ],
)
async def test_a_body_that_is_not_understood_names_its_fields(
    session: ClientSession, body: bytes, status: int, fields: set[str] | None
) -> None:
    """And nothing is done on a guess."""
    headers = {"Content-Type": "application/json"}
    async with session.post("/dead/drop", data=io.BytesIO(body), headers=headers) as answer:
        problem = await problem_of(answer, status)
    assert fields is None or {error["field"] for error in problem["errors"]} == fields
    assert len(await ids(session)) == 3


@pytest.mark.parametrize(
    "body",
    [orjson.dumps({"ids": [7] * 250_000}), orjson.dumps({f"a{n}": 1 for n in range(80_000)})],
    ids=["ids", "unknown fields"],
)
async def test_a_body_of_thousands_of_faults_holds_the_dashboard_up_for_a_moment_only(
    session: ClientSession, body: bytes
) -> None:
    """The first faults are named, and the others are not even looked for."""
    began, headers = time.process_time(), {"Content-Type": "application/json"}
    async with session.post("/dead/drop", data=io.BytesIO(body), headers=headers) as answer:
        problem = await problem_of(answer, 422)
    assert len(problem["errors"]) == 20
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "older_than=1w", "queue=orders", "page=2", "sku=a&sku=b"]
)
async def test_a_query_that_is_not_understood_is_refused(session: ClientSession, query: str) -> None:
    """The parameter is named."""
    async with session.get(f"/dead?{query}") as answer:
        problem = await problem_of(answer, 422)
    assert problem["errors"][0]["field"] == query.partition("=")[0]


async def test_other_methods_are_refused_with_what_is_allowed(session: ClientSession) -> None:
    """An action is a POST."""
    async with session.get("/dead/redrive") as answer:
        assert answer.status == 404
    async with session.delete("/dead/order1") as answer:
        await problem_of(answer, 405)
        assert answer.headers["Allow"] == "GET, HEAD"


async def test_a_copy_of_a_letter_has_its_fate(session: ClientSession, world: Afterlife) -> None:
    """An id means every copy of the message."""
    async with session.get(f"/dead/{LETTER}") as answer:
        body = orjson.dumps((await answer.json())["body"])
    await world.broker.publish(
        OutgoingMessage(exchange="", routing_key=ORDER_PROCESSOR.dead_queue, body=body)
    )
    assert (await act(session, "drop", {"ids": [LETTER]}))["done"] == 2


async def test_an_operator_is_let_in_beside_the_token(world: Afterlife) -> None:
    """By the token of an account, sent or in the gateway's cookie; a customer is not, nor a forged one."""
    async with serving(world, token=TOKEN, bound_to="0.0.0.0") as session:  # noqa: S104
        for caller, status in ((OPERATOR, 200), (ADMIN, 200), (ALICE, 401)):
            async with session.get("/dead", headers=bearer(caller)) as answer:
                assert answer.status == status
            async with session.get("/dead", headers={"Cookie": f"{COOKIE}={token(caller)}"}) as answer:
                assert answer.status == status
        for kind in ("expired", "alg none", "other key of the same id"):
            async with session.get("/dead", headers={"Cookie": f"{COOKIE}={forged()[kind]}"}) as answer:
                assert answer.status == 401


async def test_what_is_about_single_orders_takes_a_token(world: Afterlife) -> None:
    """Each route but the figures, which are open to who reaches the port."""
    refused = {"none": "", **forged(), "customer": token(ALICE)}
    let_in = {"operator": token(OPERATOR), "admin": token(ADMIN)}
    wrong = []
    async with serving(world, token=TOKEN, bound_to="0.0.0.0") as session:  # noqa: S104
        own = str(session._base_url).rstrip("/")
        paths = (await (await session.get("/openapi.json")).json())["paths"]
        for path, methods in paths.items():
            for method, (name, sent) in itertools.product(methods, (refused | let_in).items()):
                headers = {"Origin": own, "Cookie": f"{COOKIE}={sent}"}
                async with session.request(method, path.format(id="none"), headers=headers) as answer:
                    is_refused = answer.status in {401, 403}
                if is_refused != (name in refused and path not in OPEN and not path.startswith("/static/")):
                    wrong.append((method, path, name, answer.status))
    assert wrong == []
    assert paths.keys() > OPEN


async def test_a_cookie_acts_for_pages_of_the_dashboard_alone(world: Afterlife) -> None:
    """A browser sends it for others too, and says whose page it was."""
    held = {"Cookie": f"{COOKIE}={token(OPERATOR)}"}
    async with serving(world, token=TOKEN) as session:
        own = str(session._base_url).rstrip("/")
        for origin, status in ((None, 403), ("http://127.0.0.1:1", 403), (own, 200)):
            headers = held if origin is None else {**held, "Origin": origin}
            async with session.post("/dead/redrive", json={"all": True}, headers=headers) as answer:
                assert answer.status == status
