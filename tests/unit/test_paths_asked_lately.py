"""A path with parameters that was asked for lately is found by one look, and answered as it was at first."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession, web
from prometheus_client import CollectorRegistry

from shared.http import routes
from shared.http.auth import Access
from shared.http.metrics import HttpMetrics
from shared.http.routes import Route, application
from shared.http.server import serve
from tests.harness.endpoints import an_endpoint


async def show(request: web.Request) -> web.Response:
    """What the route made of the path."""
    return web.json_response([request.method, request.match_info["id"], request.query.get("q")])


@pytest.fixture
async def session(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ClientSession]:
    """A client of a port which remembers two paths."""
    monkeypatch.setattr(routes, "MOST_REMEMBERED", 2)
    table = [
        Route(
            method=method,
            path="/things/{id}",
            handler=show,
            access=Access.PUBLIC,
            name=method,
            tag="things",
            summary="",
            meaning="",
            answer={},
        )
        for method in ("GET", "PUT")
    ]
    async with (
        serve(application(table), an_endpoint(), HttpMetrics(CollectorRegistry())) as port,
        ClientSession(f"http://127.0.0.1:{port}") as opened,
    ):
        yield opened


async def test_each_path_and_method_keeps_its_parameters(session: ClientSession) -> None:
    """However often and in whatever order they are asked for, and past what is remembered."""
    asked = [("GET", "a"), ("PUT", "a"), ("GET", "b%2Fc"), ("GET", "a?q=1"), ("GET", "d")]
    for method, path in asked * 3:
        async with session.request(method, f"/things/{path}") as answer:
            name, _, query = path.replace("%2F", "/").partition("?q=")
            assert await answer.json() == [method, name, query or None]


async def test_the_router_is_asked_once(session: ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """And each time for what it does not know."""
    resolved: list[str] = []
    resolve = web.UrlDispatcher.resolve

    async def counted(self: web.UrlDispatcher, request: web.Request) -> Any:
        resolved.append(request.path)
        return await resolve(self, request)

    monkeypatch.setattr(web.UrlDispatcher, "resolve", counted)
    for path in ("/things/a", "/nothing", "/things/a", "/nothing"):
        async with session.get(path) as answer:
            assert answer.status == (200 if "things" in path else 404)
    assert resolved == ["/things/a", "/nothing", "/nothing"]
