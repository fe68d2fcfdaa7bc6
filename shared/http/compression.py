"""Large answers, made small for clients that ask for it."""

import asyncio
import gzip
from typing import Final

from aiohttp import hdrs, web

LEAST_BYTES: Final = 8_192
"""Smaller ones fit into a few packets anyway."""
AT_ONCE_BYTES: Final = 65_536
"""Larger ones hold the loop for more than a millisecond or two, and are left to a thread."""
LEVEL: Final = 4
_KINDS: Final = ("application/json", "application/problem+json", "text/", "image/svg")


async def compress(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Compresses the answer where it is whole, large and text, and the client takes gzip.

    One with an ``ETag`` stays as it is: that stands for these bytes.
    """
    if not isinstance(response, web.Response):
        return
    body = response.body
    if not isinstance(body, bytes) or len(body) < LEAST_BYTES:
        return
    headers = response.headers
    if hdrs.ETAG in headers or hdrs.CONTENT_ENCODING in headers or not _is_text(response.content_type):
        return
    headers.add(hdrs.VARY, hdrs.ACCEPT_ENCODING)
    if not _takes_gzip(",".join(request.headers.getall(hdrs.ACCEPT_ENCODING, ()))):
        return
    if len(body) > AT_ONCE_BYTES:
        small = await asyncio.to_thread(gzip.compress, body, LEVEL, mtime=0)
    else:
        small = gzip.compress(body, LEVEL, mtime=0)
    headers[hdrs.CONTENT_ENCODING] = "gzip"
    response.body = small


def _is_text(content_type: str) -> bool:
    return content_type.startswith(_KINDS)


def _takes_gzip(accepted: str) -> bool:
    """Whether gzip is named, and not with a weight of 0."""
    for coding in accepted.lower().split(","):
        name, _, weight = coding.partition(";")
        if name.strip() == "gzip":
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False
