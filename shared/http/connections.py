"""All connections of a port: who is let in, who makes room, and who is ended because nothing comes.

aiohttp has no cap on connections, and none on those of one client. A sweep ends the ones that stall.
"""

import asyncio
from typing import Final, cast

from aiohttp import web

from shared.context import trace_of
from shared.http.clients import CLIENT, TrustedProxies, address_of
from shared.http.connection import LINGER_SECONDS, MAX_HEAD_BYTES, ClientConnection
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

MAX_LINGERING_REFUSALS: Final = 64
SWEEPS_PER_TIMEOUT: Final = 10

log = SparingLog(get_logger(__name__))


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
