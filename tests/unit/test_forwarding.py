"""What a service behind the gateway answers is what the client gets; what it is told is chosen."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import ClientSession, web
from prometheus_client import CollectorRegistry

from shared.http.auth import Access, AuthMode
from shared.http.client import open_client
from shared.http.forwarding import Forwarding
from shared.http.limits import HttpLimits
from shared.http.metrics import HttpMetrics
from shared.http.problems import CORRELATION_HEADER
from shared.http.routes import Handler, Route, application
from shared.http.server import serve
from tests.harness.endpoints import an_endpoint
from tests.harness.http_gateway import problem_of
from tests.harness.tokens import ALICE, a_guard, bearer


@dataclass(slots=True)
class Behind:
    """A service that notes what it is asked, and answers as a test says."""

    asked: list[tuple[str, str, Mapping[str, str], bytes]] = field(default_factory=list)
    answer: Callable[[], web.Response] = lambda: web.json_response({"sku": "cable"})
    pause_seconds: float = 0.0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Any request."""
        await asyncio.sleep(self.pause_seconds)
        self.asked.append((request.method, request.raw_path, request.headers, await request.read()))
        return self.answer()


def made_up_table(handlers: Callable[[str], Handler]) -> tuple[Route, ...]:
    """As services declare theirs."""

    def route(name: str, method: str, path: str, access: Access) -> Route:
        return Route(
            method=method,
            path=path,
            handler=handlers(name),
            access=access,
            name=name,
            tag="products",
            summary="",
            meaning="",
            answer={},
        )

    return (
        route("show", "GET", "/things/{id}", Access.PUBLIC),
        route("change", "PATCH", "/things/{id}", Access.OPERATOR),
        route("remove", "DELETE", "/things/{id}", Access.OPERATOR),
        route("sign", "POST", "/tokens", Access.PUBLIC),
    )


@asynccontextmanager
async def front(url: str) -> AsyncIterator[ClientSession]:
    """A client of a gateway before a service that is at this address."""
    async with open_client("catalogue", url) as client:
        routes = made_up_table(Forwarding(client, HttpLimits(), prefix="/api/v1").handler)
        app = application(routes, a_guard(AuthMode.OPTIONAL), prefixes=("", "/api/v1"))
        async with (
            serve(app, an_endpoint(), HttpMetrics(CollectorRegistry())) as port,
            ClientSession(f"http://127.0.0.1:{port}", auto_decompress=False) as session,
        ):
            yield session


@pytest.fixture
async def behind() -> Behind:
    """The service."""
    return Behind()


@pytest.fixture
async def session(behind: Behind) -> AsyncIterator[ClientSession]:
    """A client of the gateway before it."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", behind.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        async with front(f"http://{host}:{port}") as client:
            yield client
    finally:
        await runner.cleanup()


async def test_a_request_is_handed_on_with_who_asks(behind: Behind, session: ClientSession) -> None:
    """Token, trace, preconditions and address; nothing else that the client sent."""
    headers = {
        **bearer(ALICE),
        CORRELATION_HEADER: "the-one",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "If-None-Match": '"7"',
        "X-Forwarded-For": "203.0.113.9",
        "X-Internal": "yes",
        "Cookie": "session=mine",
    }
    async with session.get("/api/v1/things/a%2Fb?q=a%20b&q=c", headers=headers) as answer:
        assert answer.status == 200
        assert answer.headers[CORRELATION_HEADER] == "the-one"
    ((method, path, told, body),) = behind.asked
    assert (method, path, body) == ("GET", "/things/a%2Fb?q=a%20b&q=c", b"")
    assert told["Authorization"] == headers["Authorization"]
    assert told[CORRELATION_HEADER] == "the-one"
    assert told["traceparent"] == headers["traceparent"]
    assert told["If-None-Match"] == '"7"'
    assert told["X-Forwarded-For"] == "127.0.0.1"
    assert not {"X-Internal", "Cookie"} & set(told)


async def test_an_answer_arrives_as_text_however_large_it_is() -> None:
    """Services compress for whoever asks; the gateway asks for nobody but its own client."""
    things = {"items": ["cable"] * 10_000}

    async def list_things(_: web.Request) -> web.Response:
        return web.json_response(things)

    behind = application(made_up_table(lambda _: list_things))
    async with (
        serve(behind, an_endpoint(), HttpMetrics(CollectorRegistry())) as port,
        front(f"http://127.0.0.1:{port}") as session,
        session.get("/things/all", headers={"Accept-Encoding": "identity"}) as answer,
    ):
        assert await answer.json() == things


@pytest.mark.parametrize(
    ("body", "media_type"), [(b'{"price": 1}', "application/json"), (b"username=a&password=b", None)]
)
async def test_bodies_arrive_byte_for_byte(
    behind: Behind, session: ClientSession, body: bytes, media_type: str | None
) -> None:
    """JSON, and forms, for clients of OAuth."""
    kind = media_type or "application/x-www-form-urlencoded"
    async with session.post("/tokens", data=body, headers={"Content-Type": kind}) as answer:
        assert answer.status == 200
    assert behind.asked[0][3] == body
    assert behind.asked[0][2]["Content-Type"] == kind


async def test_a_body_that_may_not_be_sent_goes_nowhere(behind: Behind, session: ClientSession) -> None:
    """Too large, of another kind, or compressed."""
    json = {"Content-Type": "application/json"}
    for body, headers, status in (
        (b"x" * 70_000, json, 413),
        (b"<a/>", {"Content-Type": "text/xml"}, 415),
        (b"{}", {**json, "Content-Encoding": "gzip"}, 415),
    ):
        async with session.post("/tokens", data=body, headers=headers) as answer:
            assert answer.status == status
            await problem_of(answer)
    assert behind.asked == []


async def test_an_answer_comes_back_as_it_is(behind: Behind, session: ClientSession) -> None:
    """Status, body and the headers that mean something to a client; no others, and no cookies."""
    behind.answer = lambda: web.Response(
        status=412,
        body=b'{"odd": 1}',
        headers={
            "Content-Type": "application/problem+json",
            "ETag": '"8"',
            "X-Cache": "hit",
            "RateLimit": '"passwords";r=0;t=60',
            "Server": "secret/1.0",
            "Set-Cookie": "a=b",
        },
    )
    async with session.patch("/things/a", json={}) as answer:
        assert (answer.status, await answer.read()) == (412, b'{"odd": 1}')
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert (answer.headers["ETag"], answer.headers["X-Cache"]) == ('"8"', "hit")
        assert answer.headers["RateLimit"] == '"passwords";r=0;t=60'
        assert answer.headers["Server"] == "order-pipeline"
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_a_body_has_none(behind: Behind, session: ClientSession, status: int) -> None:
    """And no length either."""
    behind.answer = lambda: web.Response(status=status, headers={"ETag": '"8"'})
    async with session.get("/things/a") as answer:
        assert (answer.status, await answer.read()) == (status, b"")
        assert "Content-Type" not in answer.headers


async def test_head_is_told_what_get_would_be(behind: Behind, session: ClientSession) -> None:
    """Without the body."""
    async with session.head("/things/a") as answer:
        assert (answer.status, answer.headers["Content-Length"]) == (200, "16")
    assert behind.asked[0][0] == "GET"


@pytest.mark.parametrize("path", ["/things/..", "/things/%2e%2e", "/things/."])
async def test_a_path_with_dots_leads_nowhere_else(behind: Behind, session: ClientSession, path: str) -> None:
    """The service sees what the client wrote, or nothing."""
    from yarl import URL

    async with session.get(URL(str(session._base_url).rstrip("/") + path, encoded=True)):
        pass
    assert all(asked[1] == path for asked in behind.asked)


async def test_who_may_not_is_refused_before_the_service_is_asked(
    behind: Behind, session: ClientSession
) -> None:
    """And before a body is read."""
    async with session.delete("/things/a", headers=bearer(ALICE)) as answer:
        assert answer.status == 403
    assert behind.asked == []


async def test_a_service_that_is_away_is_named() -> None:
    """At once, with when to come again."""
    async with front("http://127.0.0.1:9") as session, session.get("/things/a") as answer:
        assert answer.status == 503
        problem: dict[str, Any] = await problem_of(answer)
        assert (problem["type"], problem["service"]) == ("/problems/service-unavailable", "catalogue")
        assert "127.0.0.1:9" not in problem["detail"]
        assert int(answer.headers["Retry-After"]) >= 1


async def test_a_frozen_service_costs_two_seconds_and_nobody_else(
    behind: Behind, session: ClientSession
) -> None:
    """Other routes are answered meanwhile."""
    behind.pause_seconds = 60
    waiting = asyncio.ensure_future(session.get("/things/a"))
    async with session.post("/tokens", data=b"x", headers={"Content-Type": "text/xml"}) as answer:
        assert answer.status == 415
    async with asyncio.timeout(10), await waiting as answer:
        assert answer.status == 503
        assert (await problem_of(answer))["service"] == "catalogue"
