"""Client connections that cannot be kept open by doing nothing.

aiohttp has no deadline for the head of a request, none for a client that does not take its answer, and no
cap on connections. A sweep over all connections looks at two timestamps, so that a request costs no timer.
"""

import asyncio
from typing import Final, cast

from aiohttp import StreamReader, web

from shared.context import trace_of
from shared.http.edge import Edge
from shared.http.limits import HttpLimits
from shared.http.metrics import HttpMetrics
from shared.http.problems import REQUEST_TIMEOUT, TOO_MANY_CONNECTIONS, Problem, raw_problem

LINGER_SECONDS: Final = 2.0
"""How long a connection takes in the rest of a body that was refused, so that the client reads the answer."""
MAX_LINGERING_REFUSALS: Final = 256
SWEEPS_PER_TIMEOUT: Final = 10


class ClientConnection(web.RequestHandler):
    """One client's connection. ``connections`` is the registry that it leaves when it is lost."""

    __slots__ = ("_body", "_clock", "_connections", "_edge", "_is_working", "head_began", "stalled_since")

    def __init__(
        self,
        server: web.Server,
        *,
        edge: Edge,
        limits: HttpLimits,
        connections: "set[ClientConnection]",
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=limits.keep_alive_seconds,
            access_log=None,  # type: ignore[arg-type]  # documented, and what `AppRunner` itself takes
            lingering_time=LINGER_SECONDS,
            auto_decompress=False,
        )
        self._edge = edge
        self._connections = connections
        self._clock = loop.time
        self._is_working = False
        self._body: StreamReader | None = None
        self.head_began: float | None = None
        self.stalled_since: float | None = None

    def data_received(self, data: bytes) -> None:
        """Bytes that belong to no request yet begin the head of the next one.

        There are none where aiohttp calls this itself, to go on with what it has buffered.
        """
        if data and self.head_began is None and not self._is_busy():
            self.head_began = self._clock()
        super().data_received(data)

    def _is_busy(self) -> bool:
        return self._is_working or (self._body is not None and not self._body.is_eof())

    def work_begins(self, body: StreamReader) -> None:
        """The head of a request is complete; its body may still be on its way."""
        self.head_began = None
        self._is_working = True
        self._body = body

    def work_ends(self) -> None:
        """The request has its answer, which is yet to be written."""
        self._is_working = False

    def pause_writing(self) -> None:
        """The client does not take what is written."""
        super().pause_writing()
        self.stalled_since = self._clock()

    def resume_writing(self) -> None:
        """The client takes its answer again."""
        super().resume_writing()
        self.stalled_since = None

    def connection_lost(self, exc: BaseException | None) -> None:
        """Leaves the registry."""
        self._connections.discard(self)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What aiohttp's parser refuses: a problem, instead of plain text with the input in it."""
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the answer has been sent already")
        return self._edge.unparsed()

    def close_stalled(self, answer: bytes | None) -> None:
        """Ends the connection, after ``answer`` where the client is still owed one."""
        transport = self.transport
        self._connections.discard(self)
        if transport is None:
            return
        if answer is None:
            transport.abort()
        else:
            transport.write(answer)
            self.force_close()


class RefusedConnection(asyncio.Protocol):
    """A connection past the limit: told so at once, and closed when the client has had time to read it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, refused: "set[RefusedConnection]") -> None:
        self._loop = loop
        self._refused = refused

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answers before anything was asked, without waiting for it."""
        transport = cast(asyncio.Transport, transport)
        trace = trace_of(None, None)
        problem = Problem(TOO_MANY_CONNECTIONS, "Too many connections are open. Nothing was accepted.")
        transport.write(raw_problem(problem, trace))
        if len(self._refused) >= MAX_LINGERING_REFUSALS:
            transport.close()
            return
        self._refused.add(self)
        transport.write_eof()
        self._loop.call_later(LINGER_SECONDS, transport.close)

    def eof_received(self) -> bool:
        """The client has read what it wanted; the transport closes itself."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Gives its place among the refused free."""
        self._refused.discard(self)


class Connections:
    """Makes the protocol of each new connection, and ends those that stall."""

    def __init__(self, server: web.Server, edge: Edge, limits: HttpLimits, metrics: HttpMetrics) -> None:
        self._server = server
        self._edge = edge
        self._limits = limits
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._open: set[ClientConnection] = set()
        self._refused: set[RefusedConnection] = set()
        metrics.connections.set_function(lambda: len(self._open))

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers a request, and notes on its connection that it is at work meanwhile."""
        connection = cast(ClientConnection, request.protocol)
        connection.work_begins(request.content)
        try:
            return await self._edge(request)
        finally:
            connection.work_ends()

    def __call__(self) -> asyncio.Protocol:
        """The protocol factory."""
        if len(self._open) >= self._limits.max_connections:
            self._metrics.connection_refused()
            return RefusedConnection(self._loop, self._refused)
        connection = ClientConnection(
            self._server,
            edge=self._edge,
            limits=self._limits,
            connections=self._open,
            loop=self._loop,
        )
        self._open.add(connection)
        return connection

    async def sweep(self) -> None:
        """Looks for stalled connections, until cancelled."""
        shortest = min(self._limits.head_timeout_seconds, self._limits.write_timeout_seconds)
        while True:
            await asyncio.sleep(shortest / SWEEPS_PER_TIMEOUT)
            self._close_stalled(self._loop.time())

    def _close_stalled(self, now: float) -> None:
        for connection in tuple(self._open):
            began, stalled = connection.head_began, connection.stalled_since
            if began is not None and now - began > self._limits.head_timeout_seconds:
                self._metrics.connection_timed_out()
                connection.close_stalled(self._slow_head())
            elif stalled is not None and now - stalled > self._limits.write_timeout_seconds:
                self._metrics.connection_timed_out()
                connection.close_stalled(None)

    def _slow_head(self) -> bytes:
        seconds = self._limits.head_timeout_seconds
        problem = Problem(REQUEST_TIMEOUT, f"No complete request came within {seconds:g} s.")
        return raw_problem(problem, trace_of(None, None))
