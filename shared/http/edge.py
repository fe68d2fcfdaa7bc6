"""What holds for every request, whatever it asks for: a trace, a problem instead of an error, and metrics.

It wraps the whole application instead of being a middleware of it, because aiohttp answers some requests
before any middleware runs (``Expect``, and whatever its parser refuses), in plain text that echoes input.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Final, cast

from aiohttp import web

from shared.context import logging_about, trace_of
from shared.errors import StoreUnavailable
from shared.http.metrics import HttpMetrics
from shared.http.problems import (
    CORRELATION_HEADER,
    EXPECTATION_FAILED,
    INTERNAL,
    MALFORMED_REQUEST,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    STORE_UNAVAILABLE,
    Problem,
    printable,
    problem_response,
)
from shared.logs import get_logger
from shared.messages import Trace

TRACE: Final = web.RequestKey("trace", Trace)
UNMATCHED: Final = "unmatched"
UNPARSED: Final = "unparsed"

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

log = get_logger(__name__)


class Edge:
    """The outermost handler. It answers everything; nothing but a cancellation leaves it."""

    def __init__(self, inner: Handler, metrics: HttpMetrics) -> None:
        self._inner = inner
        self._metrics = metrics

    async def __call__(self, base_request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request."""
        request = cast(web.Request, base_request)
        began = time.perf_counter()
        trace = trace_of(request.headers.get(CORRELATION_HEADER), request.headers.get("traceparent"))
        request[TRACE] = trace
        self._metrics.in_flight.inc()
        try:
            with logging_about(correlation_id=trace.correlation_id):
                response = await self._answer(request, trace)
        finally:
            self._metrics.in_flight.dec()
        response.headers[CORRELATION_HEADER] = trace.correlation_id
        seconds = time.perf_counter() - began
        self._metrics.answered(request.method, _route(request), response.status, seconds)
        return response

    async def _answer(self, request: web.Request, trace: Trace) -> web.StreamResponse:
        try:
            return await self._inner(request)
        except Problem as error:
            problem = error
        except web.HTTPException as error:
            problem = _routing_problem(error)
        except StoreUnavailable as error:
            problem = _unavailable(error)
        except ConnectionError:
            problem = Problem(MALFORMED_REQUEST, "The client closed the connection.", closes=True)
        except Exception:
            log.exception("request failed", method=request.method, route=_route(request))
            problem = Problem(INTERNAL, "The request could not be handled. It has been logged.")
        return problem_response(problem, printable(request.rel_url.raw_path) or "/", trace)

    def unparsed(self) -> web.StreamResponse:
        """The answer to bytes that are not a request; none of them is shown."""
        trace = trace_of(None, None)
        log.info("not an HTTP request", correlation_id=trace.correlation_id)
        problem = Problem(MALFORMED_REQUEST, "What was sent is not a well-formed HTTP request.", closes=True)
        response = problem_response(problem, "/", trace)
        response.headers[CORRELATION_HEADER] = trace.correlation_id
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
                headers={"Allow": error.headers["Allow"]},
            )
        case web.HTTPExpectationFailed():
            return Problem(EXPECTATION_FAILED, "Only Expect: 100-continue is understood.", closes=True)
        case _:
            return Problem(NOT_FOUND, "There is nothing at this path.")


def _unavailable(error: StoreUnavailable) -> Problem:
    log.warning("request refused", reason=str(error))
    return Problem(
        STORE_UNAVAILABLE,
        "The store did not answer in time. Whether anything was done is unknown: "
        "ask again with the same id, that converges.",
    )


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else UNMATCHED
