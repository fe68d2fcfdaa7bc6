"""Headers that several routes read."""

import re
from typing import Final

from aiohttp import web

from api_gateway.problems import INVALID_HEADER
from shared.http.problems import Problem

MAX_KEY_LENGTH: Final = 255
_KEY: Final = re.compile(rf"[\x21-\x7e]{{1,{MAX_KEY_LENGTH}}}")


def idempotency_key(request: web.Request) -> str | None:
    """The ``Idempotency-Key``, if one was sent. Raises Problem with 400."""
    keys = request.headers.getall("Idempotency-Key", ())
    if not keys:
        return None
    if len(keys) > 1:
        raise Problem(INVALID_HEADER, "Send one Idempotency-Key, not several.")
    if not _KEY.fullmatch(keys[0]):
        detail = f"An Idempotency-Key has 1 to {MAX_KEY_LENGTH} visible ASCII characters."
        raise Problem(INVALID_HEADER, detail)
    return keys[0]
