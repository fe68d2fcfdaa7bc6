"""Reading a request's body: JSON of a bounded size, within a deadline."""

import asyncio
import re
from typing import Any, Final

from aiohttp import web

from shared.http.clients import client_of
from shared.http.limits import HeavyWork, HttpLimits
from shared.http.problems import (
    BODY_TOO_LARGE,
    MALFORMED_JSON,
    MALFORMED_REQUEST,
    REQUEST_TIMEOUT,
    UNSUPPORTED_BODY,
    Problem,
)
from shared.http.strict_json import NotStrictJson, parse

_JSON: Final = re.compile(r'application/json[ \t]*(;[ \t]*charset=(utf-?8|"utf-?8")[ \t]*)?;?', re.IGNORECASE)


LARGE_BODY_BYTES: Final = 16_384
"""Longer than any order, however long its SKUs, unless it is filled up with blanks."""


class JsonBodies:
    """Reads bodies. Large ones are parsed one at a time, because each holds the loop for milliseconds."""

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        self._large = HeavyWork(at_once=1)

    async def read(self, request: web.Request) -> Any:
        """The body's value. Raises Problem with 400, 408, 413, 415 or 503."""
        return await self.parsed(request, await self.raw(request))

    async def raw(self, request: web.Request) -> bytes:
        """The bytes of a body that should be JSON. Raises Problem with 400, 408, 413 or 415."""
        return await read_body(request, self._limits)

    async def parsed(self, request: web.Request, body: bytes) -> Any:
        """The value of the body of a request. Raises Problem with 400 or 503."""
        if len(body) <= LARGE_BODY_BYTES:
            return parse_json(body)
        async with self._large.turn(client_of(request)):
            return parse_json(body)


async def read_body(request: web.Request, limits: HttpLimits) -> bytes:
    """The bytes of a JSON body. Raises Problem with 400, 408, 413 or 415."""
    _check_headers(request, limits)
    content = request.content
    try:
        if content.is_eof():  # as a rule the body came with the headers, and there is nothing to wait for
            body = content.read_nowait()
        else:
            async with asyncio.timeout(limits.body_timeout_seconds):
                body = await _read(request, limits)
    except TimeoutError as error:
        raise Problem(
            REQUEST_TIMEOUT,
            f"The body was not complete after {limits.body_timeout_seconds:g} s.",
            closes=True,
        ) from error
    except web.RequestPayloadError as error:
        raise Problem(MALFORMED_REQUEST, "The body breaks off or is framed wrongly.", closes=True) from error
    if getattr(request.protocol, "is_truncated", False):
        raise Problem(MALFORMED_REQUEST, "The body breaks off.", closes=True)
    if len(body) > limits.body_bytes:
        raise _too_large(limits)
    return body


def parse_json(body: bytes) -> Any:
    """The body's value. Raises Problem with 400."""
    try:
        return parse(body)
    except NotStrictJson as error:
        raise Problem(MALFORMED_JSON, str(error)) from error


def _check_headers(request: web.Request, limits: HttpLimits) -> None:
    headers = request.headers
    if "Content-Encoding" in headers:
        raise Problem(
            UNSUPPORTED_BODY,
            "The body must be sent without a Content-Encoding.",
            headers={"Accept-Encoding": "identity"},
        )
    types = headers.getall("Content-Type", ())
    if len(types) != 1 or (types[0] != "application/json" and not _JSON.fullmatch(types[0])):
        raise Problem(UNSUPPORTED_BODY, "The body must be sent as Content-Type: application/json, in UTF-8.")
    if (request.content_length or 0) > limits.body_bytes:
        raise _too_large(limits)


async def _read(request: web.Request, limits: HttpLimits) -> bytes:
    body = bytearray()
    while chunk := await request.content.readany():
        body += chunk
        if len(body) > limits.body_bytes:
            break
    return bytes(body)


def _too_large(limits: HttpLimits) -> Problem:
    return Problem(BODY_TOO_LARGE, f"The body is longer than {limits.body_bytes} bytes.", closes=True)
