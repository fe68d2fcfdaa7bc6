"""Orders over HTTP as cheaply as Python can send them: the load generator shares the machine with its load.

A general client costs more CPU per request than the gateway that answers it. This one writes prepared bytes
and looks at nothing but the status line and the length of the answer.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, cast
from urllib.parse import urlsplit

import orjson

REQUEST_HEAD: Final = (
    b"POST /orders HTTP/1.1\r\nHost: 127.0.0.1\r\n%b"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
)
READ_HEAD: Final = b"GET /products/%b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


class KeptConnection(asyncio.Protocol):
    """One kept-alive connection with one request at a time on its way."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._waiting: asyncio.Future[int] | None = None
        self._transport: asyncio.Transport | None = None
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is no subclass

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0 or self._waiting is None:
            return
        head = bytes(self._received[:head_end]).lower()
        marker = head.find(b"content-length:")
        length = int(head[marker + 15 :].split(b"\r\n", 1)[0]) if marker >= 0 else 0
        if len(self._received) >= head_end + 4 + length:
            status = int(head[9:12])
            self._received.clear()
            if not self._waiting.done():
                self._waiting.set_result(status)

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.is_lost = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error or ConnectionResetError("closed by the gateway"))

    async def send(self, request: bytes) -> int:
        """Returns the status of the answer. Raises OSError when the connection breaks."""
        if self._transport is None or self.is_lost:
            raise ConnectionResetError("not connected")
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting

    def close(self) -> None:
        """Hangs up."""
        if self._transport is not None:
            self._transport.close()


async def connect(url: str) -> KeptConnection:
    """Raises OSError where nobody listens."""
    parts = urlsplit(url)
    _, connection = await asyncio.get_running_loop().create_connection(
        KeptConnection, parts.hostname or "", parts.port or 80
    )
    return connection


def order_request(order_id: str, skus: Sequence[str], token: str = "") -> bytes:
    """``POST /orders`` with one piece of each SKU."""
    order = {"id": order_id, "items": [{"sku": sku, "qty": 1} for sku in skus]}
    body = orjson.dumps(order)
    sender = b"Authorization: Bearer %b\r\n" % token.encode() if token else b""
    return REQUEST_HEAD % (sender, len(body)) + body
