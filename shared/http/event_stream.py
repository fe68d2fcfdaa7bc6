"""Events that are sent as they happen: server-sent, or over a WebSocket where the client asks to upgrade.

Both carry the same events: ``event: name``, ``id: 1`` and ``data: {…}`` on lines of their own, or the three
as one JSON object a message. Where a client goes on is told by its ``Last-Event-ID``; a browser cannot send
that with a WebSocket, and names it in the query.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Protocol

import orjson
from aiohttp import hdrs, web

from shared.http.edge import add_headers, begin_answer
from shared.http.guard import is_foreign
from shared.http.problems import FORBIDDEN, INVALID_PARAMETER, FieldError, Problem, invalid
from shared.http.routes import Parameter
from shared.logs import get_logger
from shared.messaging.waiting import JITTER

MEDIA_TYPE: Final = "text/event-stream"
HEARTBEAT_SECONDS: Final = 15.0
NOTICE_SECONDS: Final = 1.0
ESTABLISHED: Final = 1
"""The state of a connection, as Linux has it first in ``tcp_info``."""
WRITE_SECONDS: Final = 10.0
"""A client that takes nothing for so long is cut off, and resumes where it was."""
LAST_EVENT_ID: Final = "Last-Event-ID"
QUERY_NAME: Final = "last_event_id"
_HEADERS: Final = {"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_RETRY_MILLISECONDS: Final = (1_000, 3_000)
"""When clients come back that were cut off all at once."""
_LARGEST_MESSAGE_BYTES: Final = 1_024
"""Of what a client says over a WebSocket, which is passed over."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEvent:
    """One event; ``body`` is JSON. Without a name it is what pages get as ``message``."""

    body: str
    name: str = ""
    id: str = ""

    @property
    def text(self) -> str:
        """Server-sent."""
        name, id_ = self.name and f"event: {self.name}\n", self.id and f"id: {self.id}\n"
        return f"{name}{id_}data: {self.body}\n\n"

    @property
    def message(self) -> str:
        """Over a WebSocket."""
        name, id_ = self.name and f'"event":"{self.name}",', self.id and f'"id":"{self.id}",'
        return f'{{{name}{id_}"data":{self.body}}}'


def an_event(data: Any, *, name: str = "", id_: str = "") -> StreamEvent:
    """An event about something that JSON can say."""
    return StreamEvent(body=orjson.dumps(data, option=orjson.OPT_UTC_Z).decode(), name=name, id=id_)


class StreamEvents:
    """Some events, written once for however many readers."""

    def __init__(self, events: Sequence[StreamEvent]) -> None:
        self._events = events

    def __bool__(self) -> bool:
        return bool(self._events)

    def __iter__(self) -> Iterator[StreamEvent]:
        return iter(self._events)

    @cached_property
    def text(self) -> bytes:
        """Server-sent."""
        return "".join(each.text for each in self._events).encode()

    @cached_property
    def messages(self) -> Sequence[str]:
        """Over a WebSocket."""
        return [each.message for each in self._events]


class EventReader(Protocol):
    """A client that events are sent to. Methods raise ConnectionError or TimeoutError once it is gone."""

    @property
    def response(self) -> web.StreamResponse:
        """What the handler returns."""

    async def send(self, events: StreamEvents) -> None:
        """Sends them, in their order."""

    async def wait(self, news: asyncio.Event, seconds: float) -> bool:
        """Whether there was news within this time; after a silence both sides see that the other is there.

        A client that is gone is noticed within a second, whether anything happens or not.
        """

    async def end(self, *, is_gone: bool) -> None:
        """Lets the client go; ``is_gone`` where it did not take what was sent."""


async def answer_events(
    request: web.Request, tell: Callable[[EventReader], Awaitable[None]]
) -> web.StreamResponse:
    """An answer of events, until ``tell`` returns or the client is gone; to HEAD its headers alone.

    Raises Problem where a page of another origin asks for a WebSocket, which no browser keeps it from.
    """
    reader = await _begin(request)
    is_gone = True
    try:
        if request.method != hdrs.METH_HEAD:
            await tell(reader)
        is_gone = False
    except (ConnectionError, TimeoutError) as error:
        log.info("a reader of events is gone", path=request.path, reason=str(error) or "it took none")
    finally:
        await reader.end(is_gone=is_gone)
    return reader.response


async def _begin(request: web.Request) -> EventReader:
    if request.headers.get(hdrs.UPGRADE, "").lower() != "websocket" or request.method != hdrs.METH_GET:
        return await _Stream.begin(request)
    if is_foreign(request):
        raise Problem(FORBIDDEN, "A WebSocket is for pages of this origin.")
    return await _Socket.begin(request)


def last_event_id(pattern: str) -> Sequence[Parameter]:
    """The ways of saying it, for a route's description."""
    schema = {"type": "string", "pattern": pattern}
    header = "The event that the client has seen last; browsers send it by themselves."
    return (
        Parameter(name=LAST_EVENT_ID, place="header", description=header, schema=schema),
        Parameter(name=QUERY_NAME, description="The same, where no header can be sent.", schema=schema),
    )


def last_seen(request: web.Request) -> str | None:
    """What the client has seen last, by its own word."""
    sent = request.headers.get(LAST_EVENT_ID)
    return request.query.get(QUERY_NAME) if sent is None else sent


def unknown_id() -> Problem:
    """The answer to a ``Last-Event-ID`` that can be none."""
    return invalid(INVALID_PARAMETER, [FieldError(field=LAST_EVENT_ID, message="is no id of an event")])


async def _waited(news: asyncio.Event, seconds: float, is_gone: Callable[[], bool]) -> bool:
    """Whether there was news. Raises ConnectionResetError where the client is gone."""
    ends = time.monotonic() + seconds
    while not news.is_set():
        if is_gone():
            raise ConnectionResetError("it has gone")
        left = ends - time.monotonic()
        if left <= 0:
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(left, NOTICE_SECONDS)):
                await news.wait()
    return True


def _has_hung_up(transport: asyncio.Transport) -> bool:
    """Whether the other side has closed the connection, by the kernel's word: nothing is read meanwhile."""
    wire = transport.get_extra_info("socket")
    if wire is None or not hasattr(socket, "TCP_INFO"):
        return False
    return bool(wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != ESTABLISHED)


class _Stream:
    """Server-sent events."""

    def __init__(self, request: web.Request, response: web.StreamResponse) -> None:
        self.response = response
        self._request = request

    @classmethod
    async def begin(cls, request: web.Request) -> "_Stream":
        stream = cls(request, await begin_answer(request, _HEADERS))
        if request.method != hdrs.METH_HEAD:
            await stream._write(f"retry: {JITTER.randrange(*_RETRY_MILLISECONDS)}\n\n".encode())
        return stream

    async def send(self, events: StreamEvents) -> None:
        await self._write(events.text)

    async def wait(self, news: asyncio.Event, seconds: float) -> bool:
        has_news = await _waited(news, seconds, self._is_gone)
        if not has_news:
            await self._write(b":\n\n")
        return has_news

    def _is_gone(self) -> bool:
        transport = self._request.transport
        return transport is None or transport.is_closing() or _has_hung_up(transport)

    async def end(self, *, is_gone: bool) -> None:
        if is_gone:
            self.response.force_close()

    async def _write(self, text: bytes) -> None:
        async with asyncio.timeout(WRITE_SECONDS):
            await self.response.write(text)


class _Socket:
    """A WebSocket. It pings by itself; what its client says is passed over."""

    def __init__(self, response: web.WebSocketResponse) -> None:
        self.response = response
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def begin(cls, request: web.Request) -> "_Socket":
        response = web.WebSocketResponse(
            heartbeat=HEARTBEAT_SECONDS, compress=False, max_msg_size=_LARGEST_MESSAGE_BYTES
        )
        add_headers(request, response)
        await response.prepare(request)
        return cls(response)

    async def send(self, events: StreamEvents) -> None:
        async with asyncio.timeout(WRITE_SECONDS):
            for message in events.messages:
                await self.response.send_str(message)

    async def wait(self, news: asyncio.Event, seconds: float) -> bool:
        return await _waited(news, seconds, self._listening.done)

    async def end(self, *, is_gone: bool) -> None:
        self._listening.cancel()
        await asyncio.wait([self._listening])
        if is_gone:
            self.response.force_close()
        else:
            await self.response.close()

    async def _listen(self) -> None:
        """Reads on, without which neither its pongs nor its good-bye would be seen."""
        async for _ in self.response:
            pass
