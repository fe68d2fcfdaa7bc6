"""Which pages of other origins may read answers, by the browsers that keep to it.

None may, unless the operator names its origin. Cookies are never meant: those who may send a token.
"""

from collections.abc import Collection
from typing import Final

from aiohttp import hdrs, web

METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE"
REQUEST_HEADERS: Final = (
    "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-Correlation-ID"
)
ANSWER_HEADERS: Final = (
    "ETag, Idempotent-Replayed, Location, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, "
    "X-Cache, X-Correlation-ID"
)
PREFLIGHT_SECONDS: Final = "600"


class CrossOrigins:
    """The origins that may."""

    def __init__(self, origins: Collection[str] = ()) -> None:
        self._origins = frozenset(origins)

    def __bool__(self) -> bool:
        return bool(self._origins)

    def preflight(self, request: web.BaseRequest) -> web.Response | None:
        """The answer to a browser that asks beforehand for a page that may; None to everything else."""
        headers = request.headers
        asks = request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in headers
        if not asks or headers.get(hdrs.ORIGIN) not in self._origins:
            return None
        allowed = {
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: METHODS,
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: REQUEST_HEADERS,
            hdrs.ACCESS_CONTROL_MAX_AGE: PREFLIGHT_SECONDS,
        }
        return web.Response(status=204, headers=allowed)

    def add_to(self, response: web.StreamResponse, request: web.BaseRequest) -> None:
        """Lets the page read the answer, if it may. Caches learn that the answer depends on who asks."""
        headers, origin = response.headers, request.headers.get(hdrs.ORIGIN)
        headers.add(hdrs.VARY, hdrs.ORIGIN)
        if origin in self._origins:
            headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = ANSWER_HEADERS
