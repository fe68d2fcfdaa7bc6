"""Pages of other origins read answers only where the operator named their origin."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession
from prometheus_client import CollectorRegistry

from api_gateway.routes import API_V1, INFO
from shared.http.cors import CrossOrigins
from shared.http.metrics import HttpMetrics
from shared.http.openapi import described
from shared.http.routes import application
from shared.http.server import serve
from tests.harness.endpoints import an_endpoint
from tests.harness.http_gateway import memory_table
from tests.harness.tokens import a_guard

SHOP = "https://shop.example.com"
ASKS = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}


@asynccontextmanager
async def port(*origins: str) -> AsyncIterator[ClientSession]:
    """A client of a port whose answers pages of these origins may read."""
    guard = a_guard()
    app = application(described(INFO, memory_table(), guard), guard, prefixes=INFO.prefixes)
    endpoint = an_endpoint(origins=CrossOrigins(origins))
    async with (
        serve(app, endpoint, HttpMetrics(CollectorRegistry())) as number,
        ClientSession(f"http://127.0.0.1:{number}") as session,
    ):
        yield session


async def test_a_named_origin_may_ask_and_read() -> None:
    """Beforehand, and in the answer, of whatever status."""
    async with port(SHOP) as session:
        async with session.options("/orders", headers={"Origin": SHOP, **ASKS}) as answer:
            assert answer.status == 204
            assert answer.headers["Access-Control-Allow-Origin"] == SHOP
            assert "POST" in answer.headers["Access-Control-Allow-Methods"]
            assert "Idempotency-Key" in answer.headers["Access-Control-Allow-Headers"]
            assert "Access-Control-Allow-Credentials" not in answer.headers
        for path in ("/orders", "/orders/none"):
            async with session.get(path, headers={"Origin": SHOP}) as answer:
                assert answer.headers["Access-Control-Allow-Origin"] == SHOP
                assert "Location" in answer.headers["Access-Control-Expose-Headers"]
                assert "Origin" in answer.headers["Vary"]


@pytest.mark.parametrize(
    "origin", ["https://evil.example.com", "null", f"{SHOP}.evil.com", "http://shop.example.com"]
)
async def test_another_origin_may_not(origin: str) -> None:
    """It is answered as if there were no such thing."""
    async with port(SHOP) as session:
        async with session.options("/orders", headers={"Origin": origin, **ASKS}) as answer:
            assert answer.status == 405
        async with session.get("/orders", headers={"Origin": origin}) as answer:
            assert "Access-Control-Allow-Origin" not in answer.headers
            assert "Origin" in answer.headers["Vary"]


async def test_where_none_is_named_none_may() -> None:
    """And answers do not depend on who asks."""
    async with port() as session:
        async with session.options("/orders", headers={"Origin": SHOP, **ASKS}) as answer:
            assert answer.status == 405
        async with session.get("/orders", headers={"Origin": SHOP}) as answer:
            assert not [name for name in answer.headers if name.startswith("Access-Control")]
            assert "Vary" not in answer.headers


async def test_every_path_is_there_as_version_one() -> None:
    """With parameters or without, HEAD too, and described once."""
    async with port() as session:
        for path in ("/orders", "/orders/none", "/inventory", "/docs", "/openapi.json"):
            for method in ("GET", "HEAD"):
                async with (
                    session.request(method, path) as plain,
                    session.request(method, API_V1 + path) as same,
                ):
                    assert (plain.status, plain.content_type) == (same.status, same.content_type)
        async with session.get(f"{API_V1}/openapi.json") as answer:
            shown = await answer.json()
        assert shown["servers"] == [{"url": "/"}, {"url": "/api/v1"}]
        assert not [path for path in shown["paths"] if path.startswith(API_V1)]
        async with session.get("/api/v2/orders") as answer:
            assert answer.status == 404
