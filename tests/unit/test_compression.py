"""Large answers are compressed for clients that ask for it, and for no others."""

import gzip
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from aiohttp import ClientSession, web
from prometheus_client import CollectorRegistry

from shared.http.answers import json_response
from shared.http.auth import Access
from shared.http.metrics import HttpMetrics
from shared.http.routes import Route, application
from shared.http.server import serve
from tests.harness.endpoints import an_endpoint

LARGE: Final = {"text": "x" * 10_000}
HUGE: Final = {"text": "x" * 100_000}
ANSWERS: Final = {
    "/large": lambda: json_response(LARGE),
    "/huge": lambda: json_response(HUGE),
    "/small": lambda: json_response({"text": "x"}),
    "/page": lambda: web.Response(text="x" * 10_000, content_type="text/html"),
    "/tagged": lambda: json_response(LARGE, headers={"ETag": '"1"'}),
    "/picture": lambda: web.Response(body=b"x" * 10_000, content_type="image/png"),
}


def _route(path: str, answer: Any) -> Route:
    async def handler(_: web.Request) -> web.Response:
        made: web.Response = answer()
        return made

    return Route(
        path=path,
        handler=handler,
        access=Access.PUBLIC,
        name=path.strip("/"),
        tag="reference",
        summary="",
        meaning="",
        answer={},
    )


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    """A client that shows answers as they come."""
    app = application([_route(path, answer) for path, answer in ANSWERS.items()])
    async with (
        serve(app, an_endpoint(), HttpMetrics(CollectorRegistry())) as port,
        ClientSession(f"http://127.0.0.1:{port}", auto_decompress=False) as client,
    ):
        yield client


@pytest.mark.parametrize("path", ["/large", "/huge", "/page"])
async def test_a_large_answer_is_smaller_and_the_same(session: ClientSession, path: str) -> None:
    """To the byte, with its true length; a HEAD is told the same."""
    async with session.get(path, headers={"Accept-Encoding": "identity"}) as answer:
        plain = await answer.read()
    async with session.get(path, headers={"Accept-Encoding": "br, gzip;q=0.8"}) as answer:
        small = await answer.read()
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert int(answer.headers["Content-Length"]) == len(small) < len(plain) / 5
        assert gzip.decompress(small) == plain
        told = answer.headers["Content-Length"]
    async with session.head(path, headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["Content-Length"] == told


@pytest.mark.parametrize("path", ["/small", "/tagged", "/picture"])
async def test_others_stay_as_they_are(session: ClientSession, path: str) -> None:
    """Where nothing is won, or a tag stands for the bytes."""
    async with session.get(path, headers={"Accept-Encoding": "gzip"}) as answer:
        assert "Content-Encoding" not in answer.headers


@pytest.mark.parametrize("accepted", ["", "identity", "gzip;q=0", "gzip; q=0.0", "br", "xgzip", "*"])
async def test_who_does_not_ask_gets_it_plain(session: ClientSession, accepted: str) -> None:
    """Caches learn that it depends on that."""
    async with session.get("/large", headers={"Accept-Encoding": accepted}) as answer:
        assert "Content-Encoding" not in answer.headers
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert await answer.json() == LARGE
