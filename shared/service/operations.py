"""The operations port: probes for the platform, metrics for Prometheus.

It opens first and closes last, so that a service which waits for its broker, or drains, can say so.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from shared.health import PROCESS_HEADER, Health
from shared.http.auth import Access
from shared.http.exposition import exposition
from shared.http.metrics import HttpMetrics
from shared.http.routes import TEXT, Handler, Parameter, Route, application
from shared.http.server import serve
from shared.http.settings import OperationsSettings


def probes(health: Health) -> tuple[Route, ...]:
    """``/livez``, ``/readyz`` and ``/healthz``. ``/readyz`` names the process that answers."""

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(request: web.Request) -> web.Response:
        return _readiness(health, verbose="verbose" in request.query)

    def probe(path: str, handler: Handler, summary: str, **further: Any) -> Route:
        return Route(
            path=path,
            handler=handler,
            access=Access.PUBLIC,
            name=path.strip("/"),
            tag="operations",
            summary=summary,
            meaning="Yes.",
            answer={"type": "string"},
            media_type=TEXT,
            **further,
        )

    verbose = Parameter(
        name="verbose", description="Every dependency, the usable ones too.", schema={"type": "string"}
    )
    ready: dict[str, Any] = {
        "parameters": (verbose,),
        "plain": {503: "redis: not reached yet\n"},
        "headers": {200: (PROCESS_HEADER,), 503: (PROCESS_HEADER,)},
    }
    return (
        probe("/livez", livez, "Whether the process runs"),
        probe("/readyz", readyz, "Whether it can do its work, else why not", **ready),
        probe("/healthz", readyz, "The same as /readyz", **ready),
    )


def _exposed(registry: CollectorRegistry) -> Route:
    async def metrics(request: web.Request) -> web.Response:
        body, kind = exposition(registry, ",".join(request.headers.getall("Accept", ())))
        return web.Response(body=body, headers={"Content-Type": kind, "Vary": "Accept"})

    return Route(
        path="/metrics",
        handler=metrics,
        access=Access.PUBLIC,
        name="metrics",
        tag="operations",
        summary="The figures of this process",
        meaning="In one of Prometheus' formats.",
        answer={"type": "string"},
        media_type=TEXT,
    )


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


def operations_app(health: Health, registry: CollectorRegistry) -> web.Application:
    """What an operations port serves."""
    return application((*probes(health), _exposed(registry)))


@asynccontextmanager
async def serve_operations(
    health: Health, registry: CollectorRegistry, own: OperationsSettings
) -> AsyncIterator[None]:
    """Serves the operations port for as long as the block runs."""
    app = operations_app(health, registry)
    async with serve(app, own.operations_endpoint(), HttpMetrics(registry, "operations_http")):
        yield
