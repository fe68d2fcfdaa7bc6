"""From an application to a socket that takes a bounded number of connections: every port of every service."""

import asyncio
import resource
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final, cast

from aiohttp import web

from shared.http.clients import TrustedProxies
from shared.http.connections import Connections
from shared.http.cors import CrossOrigins
from shared.http.edge import ANSWER_HEADERS, AnswerHeaders, Edge
from shared.http.hosts import AllowedHosts
from shared.http.limits import HttpLimits
from shared.http.metrics import HttpMetrics
from shared.http.routes import Dispatch
from shared.tracing import tracing

BACKLOG: Final = 1_024
WANTED_FILES: Final = 8_192
"""Open files: the connections of a service's ports, and what it needs besides."""
FILES_PER_CONNECTION: Final = 2
"""A port takes half of the open files at most, so that the last of them are never used up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a port is opened, what its clients may take, and under which names it answers.

    Port 0 asks for any that is free. Pages of ``origins`` may read its answers. ``headers`` stand in every
    answer. Requests that were begun have ``drain_seconds`` to finish once the listener is closed.
    """

    host: str
    port: int
    limits: HttpLimits = field(default_factory=HttpLimits)
    hosts: AllowedHosts
    proxies: TrustedProxies = field(default_factory=lambda: TrustedProxies(()))
    origins: CrossOrigins = field(default_factory=CrossOrigins)
    headers: Mapping[str, str] = field(default_factory=dict)
    drain_seconds: float = 2.0


@asynccontextmanager
async def serve(app: web.Application, endpoint: Endpoint, metrics: HttpMetrics) -> AsyncIterator[int]:
    """Serves ``app`` while the block runs, and gives the port. Raises OSError where it cannot be had."""
    wanted = endpoint.limits.max_connections
    files = _open_files(FILES_PER_CONNECTION * wanted)
    limits = replace(endpoint.limits, max_connections=min(wanted, files // FILES_PER_CONNECTION))
    app[ANSWER_HEADERS] = headers = AnswerHeaders(endpoint.headers, endpoint.origins)
    runner = web.AppRunner(
        app, handle_signals=False, access_log=None, shutdown_timeout=endpoint.drain_seconds
    )
    await runner.setup()
    try:
        server = cast(web.Server, runner.server)  # there since the runner was set up
        edge = Edge(
            Dispatch(app, server.request_handler),
            metrics,
            hosts=endpoint.hosts,
            origins=endpoint.origins,
            headers=headers,
            tracer=tracing(),
        )
        connections = Connections(server, edge, limits, metrics, endpoint.proxies)
        server.request_handler = connections.answer
        listener = await asyncio.get_running_loop().create_server(
            connections, endpoint.host, endpoint.port, backlog=BACKLOG
        )
        try:
            async with asyncio.TaskGroup() as group:
                sweeping = group.create_task(connections.sweep())
                try:
                    yield listener.sockets[0].getsockname()[1]
                finally:
                    sweeping.cancel()
        finally:
            listener.close()
    finally:
        await asyncio.shield(runner.cleanup())


def _open_files(count: int) -> int:
    """How many of ``count`` may be open, after raising the soft limit; shells often set that to 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = (
        max(count, WANTED_FILES) if hard == resource.RLIM_INFINITY else min(max(count, WANTED_FILES), hard)
    )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return count if soft == resource.RLIM_INFINITY else soft
