"""The operations port: probes for the platform, metrics for Prometheus.

It opens first and closes last, so that a service which waits for its broker, or drains, can say so.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.aiohttp import make_aiohttp_handler

from shared.health import PROCESS_HEADER, Health

OPEN_CONNECTION_GRACE_SECONDS = 2.0


def add_operations_routes(app: web.Application, health: Health, registry: CollectorRegistry | None) -> None:
    """Adds ``/livez``, ``/readyz`` and ``/healthz``, and ``/metrics`` where a registry is given.

    ``/readyz`` names the process that answers.
    """

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(request: web.Request) -> web.Response:
        return _readiness(health, verbose="verbose" in request.query)

    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/healthz", readyz)
    if registry is not None:
        app.router.add_get("/metrics", make_aiohttp_handler(registry))


def _readiness(health: Health, verbose: bool) -> web.Response:
    failures = health.failures()
    if verbose:
        lines = [f"{name}: {reason or 'ok'}" for name, reason in health.report().items()]
        lines += [f"{name}: {note}" for name, note in health.notes().items()]
    else:
        lines = [f"{name}: {reason}" for name, reason in failures.items()] or ["ok"]
    return web.Response(
        text="\n".join(lines) + "\n",
        status=503 if failures else 200,
        headers={PROCESS_HEADER: str(os.getpid())},
    )


@asynccontextmanager
async def serve(
    app: web.Application, host: str, port: int, *, shutdown_seconds: float = OPEN_CONNECTION_GRACE_SECONDS
) -> AsyncIterator[web.AppRunner]:
    """Serves ``app`` for as long as the block runs. Raises OSError where the port cannot be had.

    Our own runner rather than ``web.run_app``, which refuses connections while a service drains.
    """
    runner = web.AppRunner(
        app, handle_signals=False, access_log=None, shutdown_timeout=shutdown_seconds, keepalive_timeout=75
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=1024).start()
        yield runner
    finally:
        await asyncio.shield(runner.cleanup())


@asynccontextmanager
async def serve_operations(
    health: Health, registry: CollectorRegistry, host: str, port: int
) -> AsyncIterator[None]:
    """Serves the operations port for as long as the block runs."""
    app = web.Application()
    add_operations_routes(app, health, registry)
    async with serve(app, host, port):
        yield
