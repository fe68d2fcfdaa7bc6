"""Handing requests on to a service behind this one, and its answers back.

What a client may say to it is chosen here, header by header; who the client is, the service learns from the
token and from the address that this one saw. The answer of the service stands as it is.
"""

from typing import Final

from aiohttp import hdrs, web

from shared.http.answers import WholeResponse
from shared.http.bodies import FORM, is_form, read_body
from shared.http.client import AskedService, ServiceAnswer
from shared.http.clients import client_of
from shared.http.edge import TRACE
from shared.http.guard import TOKEN
from shared.http.limits import HttpLimits
from shared.http.negotiation import JSON
from shared.http.problems import CORRELATION_HEADER
from shared.http.routes import Handler

HANDED_ON: Final = (hdrs.ACCEPT, hdrs.CONTENT_TYPE, hdrs.IF_MATCH, hdrs.IF_NONE_MATCH)
HANDED_BACK: Final = (
    hdrs.ALLOW,
    hdrs.CACHE_CONTROL,
    hdrs.CONTENT_TYPE,
    hdrs.ETAG,
    hdrs.LOCATION,
    hdrs.RETRY_AFTER,
    hdrs.VARY,
    hdrs.WWW_AUTHENTICATE,
    "RateLimit",
    "RateLimit-Policy",
    "X-Cache",
)
_WITH_BODY: Final = frozenset({hdrs.METH_POST, hdrs.METH_PUT, hdrs.METH_PATCH})
_WITHOUT_CONTENT: Final = frozenset({204, 304})


class Forwarding:
    """The handlers of the routes that one service answers. ``prefix`` is what it does not know of a path."""

    def __init__(self, service: AskedService, limits: HttpLimits, *, prefix: str) -> None:
        self._service = service
        self._limits = limits
        self._prefix = prefix

    def handler(self, _: str) -> Handler:
        """The handler of a route, by its name."""
        return self.forward

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """Hands the answer back. Raises what ``ask`` raises."""
        return handed_back(await self.ask(request))

    async def ask(self, request: web.Request) -> ServiceAnswer:
        """Raises Problem where the body is none that may be sent, and ServiceUnavailable."""
        body = None
        if request.method in _WITH_BODY and request.body_exists:
            body = await read_body(request, self._limits, FORM if is_form(request) else JSON)
        method = hdrs.METH_GET if request.method == hdrs.METH_HEAD else request.method
        path = request.rel_url.raw_path_qs.removeprefix(self._prefix)
        return await self._service.send(method, path, headers=handed_on(request), body=body)


def handed_on(request: web.Request) -> dict[str, str]:
    """What a service is told in the headers: of what the client sent, and who the client is."""
    given, trace = request.headers, request[TRACE]
    headers: dict[str, str] = {name: ", ".join(given.getall(name)) for name in HANDED_ON if name in given}
    if (token := request.get(TOKEN)) is not None:
        headers[hdrs.AUTHORIZATION] = f"Bearer {token}"
    headers[CORRELATION_HEADER] = trace.correlation_id
    headers[hdrs.X_FORWARDED_FOR] = client_of(request).partition("/")[0]
    if trace.traceparent is not None:
        headers["traceparent"] = trace.traceparent
    return headers


def handed_back(answer: ServiceAnswer) -> web.Response:
    """The answer of a service as this one's."""
    headers = {name: answer.headers[name] for name in HANDED_BACK if name in answer.headers}
    if answer.status in _WITHOUT_CONTENT:
        headers.pop(hdrs.CONTENT_TYPE, None)
        return web.Response(status=answer.status, headers=headers)
    return WholeResponse(body=answer.body, status=answer.status, headers=headers)
