"""Reading a request's body: JSON, or a form, of a bounded size, within a deadline."""

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from aiohttp import hdrs, web

from shared.http.clients import client_of
from shared.http.limits import HeavyWork, HttpLimits
from shared.http.negotiation import JSON
from shared.http.problems import (
    BODY_TOO_LARGE,
    MALFORMED_FORM,
    MALFORMED_JSON,
    MALFORMED_REQUEST,
    REQUEST_TIMEOUT,
    UNSUPPORTED_BODY,
    Problem,
)
from shared.http.strict_json import NotStrictJson, parse

FORM: Final = "application/x-www-form-urlencoded"
MOST_FORM_FIELDS: Final = 64
_TYPES: Final = {
    each: re.compile(rf'{re.escape(each)}[ \t]*(;[ \t]*charset=(utf-?8|"utf-?8")[ \t]*)?;?', re.IGNORECASE)
    for each in (JSON, FORM)
}

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

    async def form(self, request: web.Request) -> Mapping[str, str]:
        """The fields of a form. Raises Problem with 400, 408, 413 or 415."""
        return parse_form(await read_body(request, self._limits, FORM))

    async def parsed(self, request: web.Request, body: bytes) -> Any:
        """The value of the body of a request. Raises Problem with 400 or 503."""
        if len(body) <= LARGE_BODY_BYTES:
            return parse_json(body)
        async with self._large.turn(client_of(request)):
            return parse_json(body)


def is_form(request: web.Request) -> bool:
    """Whether the body says that it is a form."""
    return request.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower() == FORM


async def read_body(request: web.Request, limits: HttpLimits, media_type: str = JSON) -> bytes:
    """The bytes of a body of this kind. Raises Problem with 400, 408, 413 or 415."""
    _check_headers(request, limits, media_type)
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


def parse_form(body: bytes) -> Mapping[str, str]:
    """The fields of a form, each of which stands in it once. Raises Problem with 400."""
    try:
        text = body.decode("ascii")
        pairs = parse_qsl(
            text,
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MOST_FORM_FIELDS,
        )
    except ValueError as error:
        raise Problem(MALFORMED_FORM, "The body is no form of a few fields in UTF-8.") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Problem(MALFORMED_FORM, "A field of the form stands in it twice.")
    return fields


def _check_headers(request: web.Request, limits: HttpLimits, media_type: str) -> None:
    headers = request.headers
    if "Content-Encoding" in headers:
        raise Problem(
            UNSUPPORTED_BODY,
            "The body must be sent without a Content-Encoding.",
            headers={"Accept-Encoding": "identity"},
        )
    types = headers.getall("Content-Type", ())
    if len(types) != 1 or (types[0] != media_type and not _TYPES[media_type].fullmatch(types[0])):
        raise Problem(UNSUPPORTED_BODY, f"The body must be sent as Content-Type: {media_type}, in UTF-8.")
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
