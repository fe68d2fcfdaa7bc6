"""Answers that are written as one piece of bytes, and answers in JSON."""

from collections.abc import Mapping
from typing import cast

import orjson
from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time

from shared.http.negotiation import JSON


class WholeResponse(web.Response):
    """A response whose body is bytes and there: the connection's writer gets head and body at once.

    The way of aiohttp's own is taken where the connection is to end, for ``HEAD`` and for HTTP/1.0.
    """

    _writer: AbstractStreamWriter | None = None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Hands over the head, which leaves with the body."""
        is_plain = request.version == HttpVersion11 and request.method != hdrs.METH_HEAD
        if not is_plain or not request.keep_alive or self.keep_alive is False:
            return await super().prepare(request)
        self._keep_alive = True
        self._writer = request.writer
        self.headers[hdrs.CONTENT_LENGTH] = str(len(cast(bytes, self.body)))
        self.headers[hdrs.DATE] = rfc822_formatted_time()
        await self._writer.write_headers(f"HTTP/1.1 {self.status} {self.reason}", self.headers)
        return self._writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Hands over the body, and waits where the client does not take it."""
        if self._writer is None:
            await super().write_eof(data)
        else:
            await self._writer.write_eof(cast(bytes, self.body))


def json_response(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """JSON, as a 200 unless it is told otherwise. Times are in UTC, written with a Z."""
    return WholeResponse(
        body=orjson.dumps(value, option=orjson.OPT_UTC_Z),
        status=status,
        headers={"Content-Type": JSON, **(headers or {})},
    )
