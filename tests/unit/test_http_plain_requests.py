"""Requests that came in full are answered without aiohttp's task for each, and cannot be told from others."""

import asyncio
import gc
import re
from collections.abc import Iterator
from unittest import mock

import pytest
import structlog
from aiohttp import web

from shared.http.connection import ClientConnection
from tests.harness.ports import KINDS, open_port
from tests.harness.waiting import wait_until

every_port = pytest.mark.parametrize("kind", KINDS)
GET_IT = b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST_IT = b"POST /orders HTTP/1.1\r\nHost: localhost\r\n"
JSON_BODY = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"


@pytest.fixture
def ways() -> Iterator[list[str]]:
    """Which way this test's answers went: an entry for each plain request and connection handed on."""
    taken: list[str] = []
    answer_next, start = ClientConnection._answer_next, web.RequestHandler.start

    async def plain(connection: ClientConnection) -> bool:
        taken.append("plain")
        return await answer_next(connection)

    async def handed_on(connection: ClientConnection) -> None:
        taken.append("aiohttp")
        await start(connection)

    with (
        mock.patch.object(ClientConnection, "_answer_next", plain),
        mock.patch.object(web.RequestHandler, "start", handed_on),
    ):
        yield taken


async def answer_on(reader: asyncio.StreamReader, *, has_body: bool = True) -> bytes:
    """One answer of a connection that stays."""
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        return head + (await reader.readexactly(int(length[1])) if length and has_body else b"")


def without_chance(answer: bytes) -> list[bytes]:
    """The lines of an answer but for ids, times and the end of the connection."""
    answer = re.sub(rb"[0-9a-f]{32}", b"id", answer)
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith((b"Date:", b"Connection:"))]
    return [lines[0], *sorted(lines[1:]), body]


@every_port
@pytest.mark.parametrize(
    "request_",
    [
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\n",
        b"GET /inventory?limit=0 HTTP/1.1\r\nHost: localhost\r\n",
        b"GET /inventory HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\n",
        b"HEAD /livez HTTP/1.1\r\nHost: localhost\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n",
        b"PUT /orders HTTP/1.1\r\nHost: localhost\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nExpect: nonsense\r\n",
        POST_IT + b"Content-Type: text/html\r\nContent-Length: 1\r\n",
        POST_IT + b"Content-Type: application/json\r\nContent-Length: 2\r\n",
    ],
    ids=lambda request: request.split(b" HTTP")[0].decode() + f" {len(request)}",
)
async def test_an_answer_is_the_same_whichever_way_it_goes(
    kind: str, request_: bytes, ways: list[str]
) -> None:
    """Status, headers and body; only the one that asks for the end of its connection is told that it ends."""
    body = b"{}"[: int((re.findall(rb"Length: (\d)", request_) or [0])[0])]
    has_body = not request_.startswith(b"HEAD")
    async with open_port(kind) as port:
        closed = await port.raw(request_ + b"Connection: close\r\n\r\n" + body)
        reader, writer = await port.connect()
        writer.write(request_ + b"\r\n" + body)
        stayed = await answer_on(reader, has_body=has_body)
        writer.close()
    assert without_chance(stayed) == without_chance(closed)
    assert ways == ["aiohttp", "plain"]


@every_port
async def test_requests_that_come_together_or_in_pieces_are_handed_on(kind: str, ways: list[str]) -> None:
    """The connection stays, and what comes after them is answered all the same."""
    async with open_port(kind) as port:
        request = GET_IT % port.path.encode()
        reader, writer = await port.connect()
        for pieces in ((request,), (request + request,), (request[:20], request[20:]), (request,)):
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0)
            for _ in range(b"".join(pieces).count(b"GET ")):
                assert (await answer_on(reader)).startswith(b"HTTP/1.1 200 OK")
        writer.close()
    assert ways == ["plain", "aiohttp"]


async def test_a_body_that_comes_after_its_head_is_waited_for(ways: list[str]) -> None:
    """As slowly as its deadline lets it."""
    async with open_port("gateway") as port:
        reader, writer = await port.connect()
        body = b'{"id": "a", "sku": "cable", "qty": 1}'
        request = POST_IT + JSON_BODY % (len(body), body)
        writer.write(request[:-5])
        await wait_until(lambda: ways == ["aiohttp"])
        writer.write(request[-5:])
        assert (await answer_on(reader)).startswith(b"HTTP/1.1 202 Accepted")
        writer.close()
    assert ways == ["aiohttp"]


async def test_nothing_of_one_request_stays_for_the_next_on_its_connection(ways: list[str]) -> None:
    """Each line carries the correlation id of its own request, and none where there is none."""
    async with open_port("gateway") as port:
        with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
            reader, writer = await port.connect()
            for name in ("one", "two"):
                body = b'{"id": "%b", "sku": "cable", "qty": 1}' % name.encode()
                head = POST_IT + b"X-Correlation-ID: of-%b\r\n" % name.encode()
                writer.write(head + JSON_BODY % (len(body), body))
                assert b"X-Correlation-ID: of-" + name.encode() in await answer_on(reader)
            writer.close()
    assert [(line["order_id"], line["correlation_id"]) for line in lines] == [
        ("one", "of-one"),
        ("two", "of-two"),
    ]
    assert "correlation_id" not in structlog.contextvars.get_contextvars()
    assert ways == ["plain", "plain"]


async def test_a_client_that_is_lost_with_its_request_is_forgotten(ways: list[str]) -> None:
    """In the very turn in which the request came, as after a reset."""
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    received, lost = ClientConnection.data_received, asyncio.Event()

    def lost_at_once(connection: ClientConnection, data: bytes) -> None:
        received(connection, data)
        connection.connection_lost(None)
        lost.set()

    async with open_port("gateway") as port:
        with mock.patch.object(ClientConnection, "data_received", lost_at_once):
            _, writer = await port.connect()
            writer.write(GET_IT % b"/livez")
            await lost.wait()
            writer.close()
        for _ in range(5):  # turns in which its task could go on
            await asyncio.sleep(0)
    gc.collect()  # a task tells of its error when it goes
    assert (errors, ways) == ([], [])
