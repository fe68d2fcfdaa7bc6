"""Another service that is away, frozen or endless costs its callers a bounded time, and soon none at all."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from inspect import signature

import pytest
from aiohttp import web

from shared.breaker import Breaker
from shared.errors import ServiceUnavailable
from shared.http import client
from shared.http.client import RetryBudget, ServiceClient, open_client
from shared.tracing import Span, in_span
from tests.harness.spans import keeping_spans

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def asking(handler: Handler) -> AsyncIterator[ServiceClient]:
    """A client of a service that answers everything so."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        async with open_client("catalogue", f"http://{host}:{port}") as asked:
            yield asked
    finally:
        await runner.cleanup()


async def hang_up(request: web.Request) -> web.Response:
    """No answer, and no connection any more."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def test_an_answer_is_handed_on_as_it_is() -> None:
    """Whatever its status; the path keeps its escapes, the body its bytes."""
    seen = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.method, request.raw_path, await request.read(), request.headers["If-Match"]))
        return web.Response(status=412, body=b"\x00odd", headers={"ETag": '"7"'})

    async with asking(handler) as asked:
        answer = await asked.send("PATCH", "/products/a%2Fb?x=%20", headers={"If-Match": '"6"'}, body=b"{}")
    assert (answer.status, answer.body, answer.headers["ETag"]) == (412, b"\x00odd", '"7"')
    assert seen == [("PATCH", "/products/a%2Fb?x=%20", b"{}", '"6"')]


async def test_a_request_to_another_service_stands_in_the_trace_of_the_one_that_it_is_for() -> None:
    """The other service's span stands below the client's, in the place of what the client sent."""
    told = []

    async def handler(request: web.Request) -> web.Response:
        told.append(request.headers["traceparent"])
        return web.Response(status=204)

    async with asking(handler) as asked:
        with keeping_spans() as kept, in_span(Span("request", "server", "1" * 32, None, kept)) as outer:
            await asked.send("GET", "/products", headers={"traceparent": "the client's"})
    span = kept.spans[0]
    assert outer is not None
    assert (span.name, span.kind, span.parent_id) == ("GET catalogue", "client", outer.span_id)
    assert span.attributes["http.response.status_code"] == 204
    assert told == [span.traceparent]


async def test_clients_of_the_gateway_are_told_within_two_seconds() -> None:
    """What is asked of a service without a deadline of its own leaves time for the answer that says so."""
    own = signature(ServiceClient).parameters["deadline_seconds"].default
    assert own == client.DEADLINE_SECONDS
    assert own <= 1.95


async def test_a_frozen_service_costs_the_deadline() -> None:
    """And its name is in the error."""

    async def handler(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    async with asking(handler) as asked:
        began = time.monotonic()
        with pytest.raises(ServiceUnavailable, match="catalogue: it did not answer within"):
            await asked.send("GET", "/", deadline_seconds=0.1)
        assert time.monotonic() - began < 10


async def test_after_some_failures_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """One request per pause tries; the first that succeeds lets all through again."""
    calls, is_well = 0, False
    now = 100.0

    async def handler(request: web.Request) -> web.Response:
        nonlocal calls
        calls += 1
        return web.Response() if is_well else await hang_up(request)

    async with asking(handler) as found:
        breaker = Breaker(tolerates=client.TOLERATED_FAILURES, clock=lambda: now)
        asked = ServiceClient("catalogue", found._base_url, found._session, breaker=breaker)
        for _ in range(20):
            with pytest.raises(ServiceUnavailable):
                await asked.send("POST", "/")
        assert calls == client.TOLERATED_FAILURES + 1
        now, is_well = now + 1, True
        for _ in range(3):
            assert (await asked.send("POST", "/")).status == 200


async def test_only_what_changes_nothing_is_asked_again() -> None:
    """A POST that got no answer may have been done."""
    calls: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        calls.append(request.method)
        return await hang_up(request) if len(calls) % 2 else web.Response()

    async with asking(handler) as asked:
        assert (await asked.send("GET", "/")).status == 200
        calls.clear()
        with pytest.raises(ServiceUnavailable):
            await asked.send("POST", "/")
        assert calls == ["POST"]


def test_retries_are_a_tenth_of_the_requests() -> None:
    """Beyond the few that are saved up."""
    budget = RetryBudget(most=2)
    assert [budget.take() for _ in range(3)] == [True, True, False]
    taken = 0
    for _ in range(1_000):
        budget.asked()
        taken += budget.take()
    assert 90 <= taken <= 101


async def test_an_endless_answer_is_cut() -> None:
    """It would fill this process' memory."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65_536)

    async with asking(handler) as asked:
        with pytest.raises(ServiceUnavailable):
            await asked.send("POST", "/", deadline_seconds=20)


async def test_a_service_that_is_not_there_is_away() -> None:
    """At once."""
    async with open_client("accounts", "http://127.0.0.1:9") as asked:
        with pytest.raises(ServiceUnavailable, match=r"^accounts: connection refused$"):
            await asked.send("GET", "/")


@pytest.mark.parametrize("answer", [web.Response(status=500), web.Response(body=b"<html>")])
async def test_an_answer_that_is_no_json_is_none(answer: web.Response) -> None:
    """Nor one that is no success."""

    async def handler(_: web.Request) -> web.Response:
        return answer

    async with asking(handler) as asked:
        with pytest.raises(ServiceUnavailable):
            await asked.json("/")


async def test_redirects_and_cookies_are_not_followed() -> None:
    """They would lead to another service, or tie callers together."""
    seen = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Cookie"))
        return web.Response(status=302, headers={"Location": "http://127.0.0.1:9/", "Set-Cookie": "a=b"})

    async with asking(handler) as asked:
        for _ in range(2):
            assert (await asked.send("GET", "/")).status == 302
    assert seen == [None, None]
