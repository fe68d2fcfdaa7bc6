"""The port for clients: from an application to a socket that takes a bounded number of connections."""

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, cast

from aiohttp import web
from prometheus_client import CollectorRegistry

from shared.http.connection import Connections
from shared.http.edge import Edge
from shared.http.limits import HttpLimits
from shared.http.metrics import HttpMetrics
from shared.service.lifecycle import running

BACKLOG: Final = 1_024
OWN_FILES: Final = 512
"""Open files that the service needs besides its clients' connections."""


@asynccontextmanager
async def serve_clients(
    app: web.Application,
    host: str,
    port: int,
    *,
    limits: HttpLimits,
    registry: CollectorRegistry,
    drain_seconds: float,
) -> AsyncIterator[int]:
    """Serves ``app`` for as long as the block runs, and gives the port; 0 asks for any that is free.

    After the block the listener closes first; requests that were begun have ``drain_seconds`` to finish.
    Raises OSError where the port cannot be had.
    """
    _allow_open_files(limits.max_connections + OWN_FILES)
    metrics = HttpMetrics(registry)
    runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=drain_seconds)
    await runner.setup()
    try:
        server = cast(web.Server, runner.server)  # there since the runner was set up
        connections = Connections(server, Edge(server.request_handler, metrics), limits, metrics)
        server.request_handler = connections.answer
        listener = await asyncio.get_running_loop().create_server(connections, host, port, backlog=BACKLOG)
        try:
            async with running(connections.sweep()):
                yield listener.sockets[0].getsockname()[1]
        finally:
            listener.close()
    finally:
        await asyncio.shield(runner.cleanup())


def _allow_open_files(count: int) -> None:
    """Raises this process's soft limit as far as the hard one allows; shells often set it to 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
