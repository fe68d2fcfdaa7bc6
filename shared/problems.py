"""Errors over HTTP as RFC 9457 problems, and the correlation id that every answer carries.

Both HTTP services put :func:`answer_with_problems` around their routes. A route raises ``Problem`` or one of
the pipeline's own errors; what it did not foresee is logged and told without its details.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from shared.context import logging_about, trace_of
from shared.errors import PipelineError, StoreUnavailable
from shared.logs import get_logger
from shared.messages import Trace

PROBLEM_JSON: Final = "application/problem+json"
CORRELATION_HEADER: Final = "X-Correlation-ID"
TRACE: Final = web.RequestKey("trace", Trace)
"""The ids of the request at hand, set before any route runs."""

RETRY_AFTER_SECONDS: Final = 1

log = get_logger(__name__)


class Problem(PipelineError):
    """Raised when a request is answered with a problem. ``members`` are its extension members.

    ``title`` is the same for every problem of a kind; ``detail`` speaks of this one.
    """

    def __init__(
        self,
        status: int,
        title: str | None = None,
        detail: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail or title)
        self.status = status
        self.title = title or HTTPStatus(status).phrase
        self.detail = detail or HTTPStatus(status).description or self.title
        self.headers = dict(headers or {})
        self.members = members


def problem_response(request: web.Request, problem: Problem) -> web.Response:
    """The problem as an answer to ``request``."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": request.path,
        "correlation_id": request[TRACE].correlation_id,
        **problem.members,
    }
    return web.Response(
        status=problem.status,
        body=orjson.dumps(body),
        content_type=PROBLEM_JSON,
        headers=problem.headers,
    )


@web.middleware
async def answer_with_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Gives the request its trace and every answer its correlation id; turns errors into problems."""
    trace = trace_of(request.headers.get(CORRELATION_HEADER), request.headers.get("traceparent"))
    request[TRACE] = trace
    with logging_about(correlation_id=trace.correlation_id):
        response = await _answer(request, handler)
    if not response.prepared:
        response.headers[CORRELATION_HEADER] = trace.correlation_id
    return response


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Problem as problem:
        return problem_response(request, problem)
    except StoreUnavailable as error:
        log.warning("store away", path=request.path, reason=str(error))
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        return problem_response(request, Problem(503, "Store unavailable", str(error), headers=headers))
    except web.HTTPException as error:
        return _translated(request, error)
    except Exception:  # the border: a caller learns that it is our fault, the log learns the rest
        log.exception("request failed", method=request.method, path=request.path)
        return problem_response(request, Problem(500))


def _translated(request: web.Request, error: web.HTTPException) -> web.StreamResponse:
    if error.status < 400:
        error.headers[CORRELATION_HEADER] = request[TRACE].correlation_id
        raise error
    headers = {name: value for name, value in error.headers.items() if name in ("Allow", "Retry-After")}
    return problem_response(request, Problem(error.status, headers=headers))
