"""The operations port: probes for the platform, metrics for Prometheus.

It opens first and closes last, so that a service which waits for its broker, or drains, can say so.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry

from shared.health import PROCESS_HEADER, Health
from shared.http.exposition import exposition
from shared.http.metrics import HttpMetrics
from shared.http.server import serve
from shared.http.settings import OperationsSettings


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

        async def metrics(request: web.Request) -> web.Response:
            body, kind = exposition(registry, ",".join(request.headers.getall("Accept", ())))
            return web.Response(body=body, headers={"Content-Type": kind, "Vary": "Accept"})

        app.router.add_get("/metrics", metrics)


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
async def serve_operations(
    health: Health, registry: CollectorRegistry, own: OperationsSettings
) -> AsyncIterator[None]:
    """Serves the operations port for as long as the block runs."""
    app = web.Application()
    add_operations_routes(app, health, registry)
    async with serve(app, own.operations_endpoint(), HttpMetrics(registry, "operations_http")):
        yield
