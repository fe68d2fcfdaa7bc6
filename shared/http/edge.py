"""What holds for every request, whatever it asks for: a trace, a problem instead of an error, and metrics.

It wraps the whole application instead of being a middleware of it, because aiohttp answers some requests
before any middleware runs (``Expect``, and whatever its parser refuses), in plain text that echoes input.
"""

import re
import time
from collections.abc import Mapping, Sequence
from typing import Final, cast

from aiohttp import HttpVersion11, web

from shared.context import logging_about, trace_of
from shared.errors import (
    BrokerUnavailable,
    DatabaseUnavailable,
    DependencyUnavailable,
    ServiceUnavailable,
    StoreUnavailable,
)
from shared.http.clients import client_of
from shared.http.compression import compress
from shared.http.cors import CrossOrigins
from shared.http.hosts import AllowedHosts
from shared.http.metrics import KNOWN_METHODS, OTHER, HttpMetrics
from shared.http.problems import (
    BROKER_UNAVAILABLE,
    CORRELATION_HEADER,
    DATABASE_UNAVAILABLE,
    EXPECTATION_FAILED,
    INTERNAL,
    MALFORMED_REQUEST,
    METHOD_NOT_ALLOWED,
    MISDIRECTED,
    NOT_FOUND,
    SERVICE_UNAVAILABLE,
    STORE_UNAVAILABLE,
    Problem,
    ProblemType,
    printable,
    problem_response,
)
from shared.http.routes import RequestHandler
from shared.http.sparing import SparingLog
from shared.logs import get_logger
from shared.messages import Trace
from shared.tracing import Span, Tracing, current_span, in_span, trace_by

TRACE: Final = web.RequestKey("trace", Trace)
UNMATCHED: Final = "unmatched"
UNPARSED: Final = "unparsed"
OPERATIONS: Final = frozenset(("/livez", "/readyz", "/healthz", "/metrics"))
"""Asked for every few seconds, on any port, and no part of any order's trace."""
INTERNAL_DETAIL: Final = "The request could not be handled. It has been logged."
STANDARD_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Server": "order-pipeline",
}

_ADDRESS: Final = re.compile(r"[\w.:\[\]-]+:\d{2,5}\b|(?<![\w/])/[\w./-]+")
"""Where our stores and brokers are, and our files, is no client's business."""

_AWAY: Final[Mapping[type[DependencyUnavailable], tuple[ProblemType, str]]] = {
    StoreUnavailable: (STORE_UNAVAILABLE, "No store"),
    BrokerUnavailable: (BROKER_UNAVAILABLE, "No broker"),
    DatabaseUnavailable: (DATABASE_UNAVAILABLE, "No database"),
}

log = get_logger(__name__)
noise = SparingLog(log)


class AnswerHeaders:
    """What stands in every answer of a port that does not say otherwise."""

    def __init__(self, further: Mapping[str, str], origins: CrossOrigins) -> None:
        self._headers = tuple((STANDARD_HEADERS | dict(further)).items())
        self._origins = origins

    def add_to(
        self, response: web.StreamResponse, trace: Trace, request: web.BaseRequest | None = None
    ) -> None:
        """Completes the answer to a request, where there was one."""
        headers = response.headers
        if self._origins and request is not None:
            self._origins.add_to(response, request)
        headers[CORRELATION_HEADER] = trace.correlation_id
        for name, value in self._headers:
            headers.setdefault(name, value)


ANSWER_HEADERS: Final = web.AppKey("answer_headers", AnswerHeaders)


async def begin_answer(request: web.Request, headers: Mapping[str, str]) -> web.StreamResponse:
    """An answer that is written piece by piece: its headers are on their way."""
    response = web.StreamResponse(headers=headers)
    add_headers(request, response)
    await response.prepare(request)
    return response


def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Completes the answer to a request before it is on its way."""
    request.app[ANSWER_HEADERS].add_to(response, request[TRACE], request)


class Edge:
    """The outermost handler. It answers everything; nothing but a cancellation leaves it."""

    def __init__(
        self,
        inner: RequestHandler,
        metrics: HttpMetrics,
        *,
        hosts: AllowedHosts,
        origins: CrossOrigins,
        headers: AnswerHeaders,
        tracer: Tracing | None = None,
    ) -> None:
        self._tracer = tracer
        self._origins = origins
        self._inner = inner
        self._metrics = metrics
        self._hosts = hosts
        self._headers = headers

    async def __call__(self, base_request: web.BaseRequest, refusal: Problem | None) -> web.StreamResponse:
        """Answers one request, with ``refusal`` where there is one."""
        request = cast(web.Request, base_request)
        headers = request.headers
        trace = trace_of(headers.get(CORRELATION_HEADER), headers.get("traceparent"))
        if self._tracer is not None and request.path not in OPERATIONS:
            return await self._respond_in_span(self._tracer, request, trace, refusal)
        return await self._respond(request, trace, refusal)

    async def _respond_in_span(
        self, tracer: Tracing, request: web.Request, trace: Trace, refusal: Problem | None
    ) -> web.StreamResponse:
        is_new = trace.traceparent != request.headers.get("traceparent")
        span, traceparent = tracer.arrived(request.method, trace.traceparent or "", is_new=is_new)
        trace = Trace(correlation_id=trace.correlation_id, traceparent=traceparent)
        trace_by(tracer)  # the connection's task is the event loop's, not the service's
        with in_span(span):
            response = await self._respond(request, trace, refusal)
            if span is not None:
                _describe(span, request, response)
        return response

    async def _respond(
        self, request: web.Request, trace: Trace, refusal: Problem | None
    ) -> web.StreamResponse:
        began = time.perf_counter()
        headers = request.headers
        request[TRACE] = trace
        hosts = headers.getall("Host", ())
        if refusal is None and (len(hosts) != 1 or hosts[0] not in self._hosts.known):
            refusal = self._misdirected(request, hosts)
        self._metrics.in_flight += 1
        try:
            with logging_about(correlation_id=trace.correlation_id):
                response = await self._answer(request, trace, refusal)
                await compress(request, response)
        finally:
            self._metrics.in_flight -= 1
        self._headers.add_to(response, trace, request)
        seconds = time.perf_counter() - began
        route = UNMATCHED if refusal is not None else _route(request)
        span = current_span()
        self._metrics.answered(
            request.method, route, response.status, seconds, span.trace_id if span else None
        )
        return response

    async def _answer(
        self, request: web.Request, trace: Trace, refusal: Problem | None
    ) -> web.StreamResponse:
        problem = refusal
        if problem is None:
            if self._origins and (preflight := self._origins.preflight(request)) is not None:
                return preflight
            try:
                return await self._inner(request)
            except Problem as error:
                problem = error.with_traceback(None)  # it would keep this frame alive, and the body with it
            except web.HTTPException as error:
                problem = _routing_problem(error)
                error.with_traceback(None)  # the router's answer to this request keeps it
            except (StoreUnavailable, BrokerUnavailable, DatabaseUnavailable) as error:
                problem = _unavailable(error, request.method)
            except ServiceUnavailable as error:
                problem = _service_away(error)
            except ConnectionError:
                problem = Problem(MALFORMED_REQUEST, "The client closed the connection.", closes=True)
            except Exception:
                log.exception("request failed", method=request.method, route=_route(request))
                problem = Problem(INTERNAL, INTERNAL_DETAIL)
        return problem_response(problem, printable(request.rel_url.raw_path) or "/", trace)

    def _misdirected(self, request: web.Request, hosts: Sequence[str]) -> Problem | None:
        if len(hosts) == 1 and hosts[0] in self._hosts:
            return None
        if len(hosts) > 1 or (not hosts and request.version >= HttpVersion11):
            return Problem(MALFORMED_REQUEST, "A request names its host once.", closes=True)
        if not hosts:  # HTTP/1.0 knows no Host, and no browser speaks it
            return None
        noise.warning("asked for under a foreign name", client=client_of(request))
        return Problem(
            MISDIRECTED, "This service does not answer under that name: see ALLOWED_HOSTS.", closes=True
        )

    def unparsed(self, fault: BaseException | None) -> web.StreamResponse:
        """The answer to bytes that are no request, or that met a ``fault`` of this server; shows neither."""
        trace = trace_of(None, None)
        if fault is None:
            noise.warning("not an HTTP request", correlation_id=trace.correlation_id)
            detail = "What was sent is not a well-formed HTTP request."
            problem = Problem(MALFORMED_REQUEST, detail, closes=True)
        else:
            log.error("request failed", correlation_id=trace.correlation_id, exc_info=fault)
            problem = Problem(INTERNAL, INTERNAL_DETAIL, closes=True)
        response = problem_response(problem, "/", trace)
        self._headers.add_to(response, trace)
        self._metrics.answered(UNPARSED, UNPARSED, response.status, 0.0)
        return response


def _routing_problem(error: web.HTTPException) -> Problem:
    """What aiohttp's router refuses by itself."""
    match error:
        case web.HTTPMethodNotAllowed():
            methods = ", ".join(sorted(error.allowed_methods))
            return Problem(
                METHOD_NOT_ALLOWED,
                f"This resource takes {methods}.",
                headers={"Allow": methods},
            )
        case web.HTTPBadRequest():  # a handshake for a WebSocket that is none
            return Problem(MALFORMED_REQUEST, "This is no handshake for a WebSocket.", closes=True)
        case web.HTTPExpectationFailed():
            return Problem(EXPECTATION_FAILED, "Only Expect: 100-continue is understood.", closes=True)
        case _:
            return Problem(NOT_FOUND, "There is nothing at this path.")


def _unavailable(error: DependencyUnavailable, method: str) -> Problem:
    log.warning("request refused", reason=str(error))
    kind, what = next(told for kind_of, told in _AWAY.items() if isinstance(error, kind_of))
    reason = _ADDRESS.sub("…", str(error))
    advice = (
        "Ask again in a moment."
        if method in {"GET", "HEAD"}
        else "Whether anything was done is unknown: ask again with the same id, that converges."
    )
    return Problem(kind, f"{what} can be used ({reason}). {advice}")


def _service_away(error: ServiceUnavailable) -> Problem:
    noise.warning("a service is away", service=error.service, reason=error.reason)
    detail = f"{error.service} cannot be asked: {_ADDRESS.sub('…', error.reason)}. Ask again in a moment."
    return Problem(SERVICE_UNAVAILABLE, detail, members={"service": error.service})


def _describe(span: Span, request: web.Request, response: web.StreamResponse) -> None:
    route = _route(request)
    method = request.method if request.method in KNOWN_METHODS else OTHER
    span.name = f"{method} {route}"
    span.attributes |= {
        "http.request.method": method,
        "http.route": route,
        "http.response.status_code": response.status,
        "correlation.id": request[TRACE].correlation_id,
    }
    if response.status >= 500:
        span.error = str(response.status)


def _route(request: web.Request) -> str:
    found = request._match_info  # None where the request was answered before the router saw it
    resource = None if found is None else found.route.resource
    return resource.canonical if resource is not None else UNMATCHED
