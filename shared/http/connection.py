"""A client's connection that cannot be kept open by doing nothing: what it notes, and how it is ended.

aiohttp has no deadline for the head of a request and none for a client that does not take its answer. Each
connection notes a few times, at which the sweep over all of them looks, so that a request costs no timer.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Final, Protocol, cast

from aiohttp import StreamReader, web
from aiohttp.http import RawRequestMessage, StreamWriter

from shared.http.limits import HttpLimits

LINGER_SECONDS: Final = 2.0
"""How long a connection takes in the rest of a body that was refused, so that the client reads the answer."""
MAX_HEAD_BYTES: Final = 65_536
"""aiohttp bounds each header line and their number, which together is a megabyte per connection."""


class Registry(Protocol):
    """All connections of the port, as one of them sees them."""

    limits: HttpLimits

    def leave(self, connection: "ClientConnection") -> None:
        """The connection is lost, or about to be."""

    def long_head(self) -> bytes:
        """The answer to a head that goes on for too long."""

    def unparsed(self, fault: BaseException | None) -> web.StreamResponse:
        """The answer to bytes that are no request, or that met a ``fault`` of this server."""


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
        connections: Registry,
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
