"""Each kind of port that a service opens, on a real socket, with nothing behind it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry

from api_gateway.app import build_app as build_gateway, table
from dashboard.app import SECURITY_HEADERS
from shared.health import Health
from shared.http.limits import HttpLimits
from shared.http.metrics import HttpMetrics
from shared.http.server import serve
from shared.service.operations import operations_app
from tests.harness.dashboard import Dashboard
from tests.harness.endpoints import an_endpoint
from tests.harness.http_gateway import (
    MemoryBudget,
    MemoryIntake,
    MemoryLedger,
    MemoryMoves,
    MemoryOrders,
    MemoryStock,
    no_events,
)
from tests.harness.tokens import a_guard

KINDS = ("gateway", "operations", "dashboard")
PATHS = {"gateway": "/inventory", "operations": "/livez", "dashboard": "/livez"}
"""Something that each of them answers with 200."""


@dataclass(frozen=True, slots=True)
class OpenPort:
    """A port, and what it counts."""

    number: int
    path: str
    registry: CollectorRegistry

    def metric(self, name: str) -> float:
        """The value of a sample, 0 where there is none yet."""
        return self.registry.get_sample_value(name) or 0.0

    async def connect(self, source: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection from an address of loopback, on which nothing was sent."""
        return await asyncio.open_connection("127.0.0.1", self.number, local_addr=(source, 0))

    async def raw(
        self, request: bytes, *, source: str = "127.0.0.1", ends: bool = False, timeout_seconds: float = 10.0
    ) -> bytes:
        """Sends bytes, and with ``ends`` an end, and reads until the port closes the connection."""
        reader, writer = await self.connect(source)
        writer.write(request)
        if ends:
            writer.write_eof()
        try:
            async with asyncio.timeout(timeout_seconds):
                return await reader.read()
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def get(self, *headers: str, path: str | None = None, source: str = "127.0.0.1") -> bytes:
        """The whole answer to a GET; ``headers`` are lines, Host among them where one is meant."""
        lines = [f"GET {path or self.path} HTTP/1.1", *headers, "Connection: close", "", ""]
        return await self.raw("\r\n".join(lines).encode(), source=source)


def _app(kind: str, limits: HttpLimits) -> web.Application:
    if kind == "gateway":
        intake = MemoryIntake()
        orders, stock, budget = MemoryOrders(intake), MemoryStock(), MemoryBudget()
        own = table(
            intake=intake,
            orders=orders,
            moves=MemoryMoves(),
            ledger=MemoryLedger(),
            stock=stock,
            budget=budget,
            limits=limits,
            events=no_events(),
        )
        return build_gateway(own, a_guard())
    if kind == "dashboard":
        return Dashboard().app
    return operations_app(Health(), CollectorRegistry())


@asynccontextmanager
async def open_port(
    kind: str,
    limits: HttpLimits | None = None,
    *,
    allowed_hosts: tuple[str, ...] = (),
    proxies: tuple[str, ...] = (),
) -> AsyncIterator[OpenPort]:
    """A free port of one of the ``KINDS``."""
    limits, registry = limits or HttpLimits(), CollectorRegistry()
    endpoint = an_endpoint(
        limits=limits,
        allowed_hosts=allowed_hosts,
        trusted_proxies=proxies,
        headers=SECURITY_HEADERS if kind == "dashboard" else None,
    )
    async with AsyncExitStack() as stack:
        number = await stack.enter_async_context(serve(_app(kind, limits), endpoint, HttpMetrics(registry)))
        yield OpenPort(number, PATHS[kind], registry)
