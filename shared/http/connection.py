"""Client connections that cannot be kept open by doing nothing.

aiohttp has no deadline for the head of a request, none for a client that does not take its answer, and no
cap on connections. A sweep over all connections looks at a few timestamps, so that a request costs no timer.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Final, cast

from aiohttp import StreamReader, web
from aiohttp.http import RawRequestMessage, StreamWriter

from shared.context import trace_of
from shared.http.clients import CLIENT, TrustedProxies, address_of
from shared.http.edge import Edge
from shared.http.limits import HttpLimits
from shared.http.metrics import HttpMetrics
from shared.http.problems import (
    HEAD_TOO_LARGE,
    REQUEST_TIMEOUT,
    TOO_BUSY,
    TOO_MANY_CONNECTIONS,
    Problem,
    raw_problem,
)
from shared.http.sparing import SparingLog
from shared.logs import get_logger

LINGER_SECONDS: Final = 2.0
"""How long a connection takes in the rest of a body that was refused, so that the client reads the answer."""
MAX_HEAD_BYTES: Final = 65_536
"""aiohttp bounds each header line and their number, which together is a megabyte per connection."""
MAX_LINGERING_REFUSALS: Final = 64
SWEEPS_PER_TIMEOUT: Final = 10

log = SparingLog(get_logger(__name__))


class ClientConnection(web.RequestHandler):
    """One client's connection. It tells ``connections`` when it becomes busy, idle, and when it is lost."""

    __slots__ = (
        "_body",
        "_clock",
        "_connections",
        "_head_bytes",
        "_is_working",
        "_wire",
        "address",
        "closing_since",
        "has_ended",
        "head_began",
        "is_proxied",
        "is_truncated",
        "silent_since",
        "stalled_since",
    )

    def __init__(
        self,
        server: web.Server,
        connections: "Connections",
        *,
        address: str,
        is_proxied: bool,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=connections.limits.keep_alive_seconds,
            access_log=None,  # type: ignore[arg-type]  # documented, and what `AppRunner` itself takes
            lingering_time=LINGER_SECONDS,
            auto_decompress=False,
        )
        self._connections = connections
        self._clock = loop.time
        self._is_working = False
        self._head_bytes = 0
        self._body: StreamReader | None = None
        self._wire: asyncio.Transport | None = None
        self.address = address
        self.closing_since: float | None = None
        self.is_proxied = is_proxied
        self.has_ended = False
        self.is_truncated = False
        self.head_began: float | None = None
        self.silent_since: float | None = self._clock()
        self.stalled_since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport, which aiohttp forgets when it closes it, with what it has yet to send."""
        self._wire = cast(asyncio.Transport, transport)
        super().connection_made(transport)

    async def start(self) -> None:
        """Answers requests in this task as long as each comes in full before the next one.

        aiohttp goes on with the connection from the first one that does not. It makes a task of each, so that
        no context of one stays for the next. `Edge` sees to that. What is used here is aiohttp's own, and
        `test_http_plain_requests` fails where it means something else.
        """
        while not self._force_close:
            if not self._messages:
                self._waiter = self._loop.create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None
                continue  # it may have been lost since
            if not self._is_plain():
                await super().start()
                return
            try:
                goes_on = await self._answer_next()
            except BaseException:
                self.force_close()
                raise
            if not goes_on or self._close:
                self.force_close()

    def _is_plain(self) -> bool:
        """Whether the next request came in full, with none behind it, and is not to be the last."""
        message, payload = self._messages[0]
        if len(self._messages) > 1 or self._buffer_paused or not isinstance(message, RawRequestMessage):
            return False
        return payload.is_eof() and not message.should_close and not message.upgrade

    async def _answer_next(self) -> bool:
        """Whether the connection stays."""
        own: Any = self  # what may be None once the connection is lost is there while it is not
        message, payload = own._messages.popleft()
        own._parser.message_consumed()
        writer = StreamWriter(self, self._loop)
        request = own._request_factory(message, payload, self, writer, own._task_handler)
        response, is_gone = await self._handle_request(request, None, own._request_handler)
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._process_keepalive()
        return bool(response.keep_alive) and not is_gone

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Goes on where reading was paused. aiohttp asks for it whenever a body has been read."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def data_received(self, data: bytes) -> None:
        """Bytes that belong to no request yet begin the head of the next one.

        There are none where aiohttp calls this itself, to go on with what it has buffered. Requests that wait
        behind an answer which is not taken have the time of that answer.
        """
        if data and self.head_began is None and self.stalled_since is None and not self._is_busy():
            self.head_began = self._clock()
            self.silent_since = None
        super().data_received(data)
        if self.head_began is not None and not self._messages and self._waiter is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.close_stalled(self._connections.long_head())

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's own signature; aiohttp narrows it
        """The client sends no more. It may yet read, so what it has asked for in full is answered."""
        self.has_ended = True
        if self._body is not None and not self._body.is_eof():
            self.is_truncated = True
            self._body.feed_eof()
        return self.owes_answers()

    def owes_answers(self) -> bool:
        """Whether a request that came in full has not been answered to its end.

        aiohttp waits for a request while it owes nothing. These two attributes are its own, and
        `test_http_ports` fails where they mean something else.
        """
        return self.silent_since is None and (self._waiter is None or bool(self._messages))

    def is_last(self) -> bool:
        """Whether no request that has come in full follows the one at work."""
        return not self._messages

    def _is_busy(self) -> bool:
        return self._is_working or (self._body is not None and not self._body.is_eof())

    def work_begins(self, body: StreamReader) -> None:
        """The head of a request is complete; its body may still be on its way."""
        self.head_began = None
        self._head_bytes = 0
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
        """Leaves the registry, and lets go of the body: each knows the other, and a body that was refused
        would stay in memory until the garbage is collected, which is rare."""
        self._connections.leave(self)
        self._body = None
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
        self.head_began = None
        return self._connections.unparsed(None if status == HTTPStatus.BAD_REQUEST else exc)

    def close_stalled(self, answer: bytes | None) -> None:
        """Ends the connection, after ``answer`` where the client is still owed one.

        It is in the registry until the client has taken that, or has had its time.
        """
        self.head_began = None
        if answer is None:
            self._connections.leave(self)
            if self._wire is not None:
                self._wire.abort()
        elif self.transport is not None:
            self.transport.write(answer)
            self.force_close()

    def look_at_closing(self, now: float) -> None:
        """Notes since when it has been closing: it does so for as long as the client takes nothing."""
        if self.closing_since is None and self._wire is not None and self._wire.is_closing():
            self.closing_since = now


class Arrival(asyncio.Protocol):
    """A connection before it is known whose it is. Past the limits it stays one: it is told so at once, and
    closed when the client has had time to read it."""

    def __init__(self, connections: "Connections") -> None:
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hands the connection over, or answers before anything was asked."""
        transport = cast(asyncio.Transport, transport)
        admitted = self._connections.admit(transport)
        if isinstance(admitted, ClientConnection):
            transport.set_protocol(admitted)
            admitted.connection_made(transport)
            return
        transport.write(raw_problem(admitted, trace_of(None, None)))
        self._connections.linger(self, transport)

    def eof_received(self) -> bool:
        """The client has read what it wanted; the transport closes itself."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Gives its place among the refused free."""
        self._connections.refused.discard(self)


class Connections:
    """Makes the protocol of each new connection, bounds their number, and ends those that stall.

    Where a limit is reached, the connection that has been idle for longest makes room for the new one: among
    all of them for the limit of the port, among its own for that of an address. It must have been idle for a
    moment: the request of one that has just come, or was just answered, may be on its way.
    """

    def __init__(
        self,
        server: web.Server,
        edge: Edge,
        limits: HttpLimits,
        metrics: HttpMetrics,
        proxies: TrustedProxies,
    ) -> None:
        self._server = server
        self._answer = edge
        self.unparsed = edge.unparsed
        self.limits = limits
        self._metrics = metrics
        self._proxies = proxies
        self._loop = asyncio.get_running_loop()
        self._open: dict[ClientConnection, None] = {}
        self._idle: dict[ClientConnection, float] = {}
        self._of_address: dict[str, int] = {}
        self._of_forwarded: dict[str, int] = {}
        self.refused: set[Arrival] = set()
        metrics.connections.set_function(lambda: len(self._open))

    def __call__(self) -> asyncio.Protocol:
        """The protocol factory."""
        return Arrival(self)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers a request, and notes on its connection that it is at work meanwhile."""
        connection = cast(ClientConnection, request.protocol)
        connection.work_begins(request.content)
        self._idle.pop(connection, None)
        try:
            if connection.is_proxied:
                response = await self._answer_forwarded(request)
            else:
                response = await self._answer(request, None)
        finally:
            connection.work_ends()
            if connection in self._open:
                self._idle[connection] = self._loop.time()
        if connection.has_ended and connection.is_last():
            response.force_close()
        return response

    async def _answer_forwarded(self, request: web.BaseRequest) -> web.StreamResponse:
        """Requests at once stand for the connections that a client behind a proxy would have."""
        peer = cast(ClientConnection, request.protocol).address
        client = self._proxies.client(request.headers.getall("X-Forwarded-For", ()), peer)
        request[CLIENT] = client
        under_way, bound = self._of_forwarded.get(client, 0), self.limits.connections_per_address
        refusal = None
        if under_way >= bound:
            refusal = Problem(
                TOO_BUSY, f"{bound} requests of this client are under way. Nothing was accepted."
            )
        self._of_forwarded[client] = under_way + 1
        try:
            return await self._answer(request, refusal)
        finally:
            _count_down(self._of_forwarded, client)

    def admit(self, transport: asyncio.Transport) -> "ClientConnection | Problem":
        """The connection's protocol, or the reason why there is no place for it."""
        address = address_of(transport.get_extra_info("peername"))
        bound, is_proxied = self.limits.connections_per_address, address in self._proxies
        if not is_proxied and self._of_address.get(address, 0) >= bound and not self._evict(address):
            return self._refusal(f"{bound} connections are open from this address, all in use.", address)
        if len(self._open) >= self.limits.max_connections and not self._evict(None):
            return self._refusal("Too many connections are open, all in use.", address)
        connection = ClientConnection(
            self._server, self, address=address, is_proxied=is_proxied, loop=self._loop
        )
        self._open[connection] = None
        self._idle[connection] = self._loop.time()
        self._of_address[address] = self._of_address.get(address, 0) + 1
        return connection

    def _refusal(self, detail: str, address: str) -> Problem:
        self._metrics.connection_refused()
        log.warning("connection refused", reason=detail, client=address)
        return Problem(TOO_MANY_CONNECTIONS, f"{detail} Nothing was accepted.")

    def _evict(self, address: str | None) -> bool:
        """Ends the connection that has been idle for longest, of ``address`` or of all."""
        idle_before = self._loop.time() - self.limits.idle_before_eviction_seconds
        for connection, idle_since in self._idle.items():
            if idle_since > idle_before:
                break
            if (address is None or connection.address == address) and not connection.owes_answers():
                self._metrics.connection_evicted()
                log.warning(
                    "connections at their limit: the oldest idle one was closed", client=connection.address
                )
                connection.close_stalled(None)
                return True
        return False

    def leave(self, connection: ClientConnection) -> None:
        """The connection is lost, or about to be."""
        self._idle.pop(connection, None)
        if connection in self._open:
            del self._open[connection]
            _count_down(self._of_address, connection.address)

    def linger(self, arrival: Arrival, transport: asyncio.Transport) -> None:
        """Closes a refused connection, soon; at once where many wait for that."""
        if len(self.refused) >= MAX_LINGERING_REFUSALS:
            transport.close()
            return
        self.refused.add(arrival)
        transport.write_eof()
        self._loop.call_later(LINGER_SECONDS, transport.close)

    async def sweep(self) -> None:
        """Looks for stalled connections, until cancelled."""
        limits = self.limits
        shortest = min(
            limits.first_byte_timeout_seconds, limits.head_timeout_seconds, limits.write_timeout_seconds
        )
        while True:
            await asyncio.sleep(shortest / SWEEPS_PER_TIMEOUT)
            self._close_stalled(self._loop.time())

    def _close_stalled(self, now: float) -> None:
        limits = self.limits
        for connection in tuple(self._open):
            connection.look_at_closing(now)
            if _is_over(connection.head_began, limits.head_timeout_seconds, now):
                self._metrics.connection_timed_out()
                connection.close_stalled(self._slow_head())
            elif (
                _is_over(connection.stalled_since, limits.write_timeout_seconds, now)
                or _is_over(connection.closing_since, limits.write_timeout_seconds, now)
                or _is_over(connection.silent_since, limits.first_byte_timeout_seconds, now)
            ):
                self._metrics.connection_timed_out()
                connection.close_stalled(None)
            elif connection.has_ended and not connection.owes_answers():
                connection.force_close()  # the client ended while its last answer was being written

    def long_head(self) -> bytes:
        """The answer to a head that goes on for too long."""
        self._metrics.connection_refused()
        problem = Problem(HEAD_TOO_LARGE, f"The head of a request has at most {MAX_HEAD_BYTES} bytes.")
        return raw_problem(problem, trace_of(None, None))

    def _slow_head(self) -> bytes:
        seconds = self.limits.head_timeout_seconds
        problem = Problem(REQUEST_TIMEOUT, f"No complete request came within {seconds:g} s.")
        return raw_problem(problem, trace_of(None, None))


def _is_over(since: float | None, seconds: float, now: float) -> bool:
    return since is not None and now - since > seconds


def _count_down(counts: dict[str, int], key: str) -> None:
    if counts[key] == 1:
        del counts[key]
    else:
        counts[key] -= 1
