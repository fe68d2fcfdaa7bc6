"""Every answer that is not a success: ``application/problem+json``, as RFC 9457 has it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import orjson
from aiohttp import web

from shared.messages import Trace

MEDIA_TYPE: Final = "application/problem+json"
CORRELATION_HEADER: Final = "X-Correlation-ID"
MAX_ERRORS_SHOWN: Final = 100
_LONGEST_ECHO: Final = 96


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemType:
    """A kind of problem, stable across releases. ``retry_after_seconds`` asks the client to come again."""

    name: str
    status: int
    title: str
    retry_after_seconds: int | None = None

    @property
    def uri(self) -> str:
        """The reference that stands in ``type``."""
        return f"/problems/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """What is wrong with one field. ``field`` is a dotted path such as ``items.0.qty``."""

    field: str
    message: str


MALFORMED_REQUEST: Final = ProblemType(name="malformed-request", status=400, title="Not an HTTP request")
MALFORMED_JSON: Final = ProblemType(name="malformed-json", status=400, title="Not strict JSON")
INVALID_HEADER: Final = ProblemType(name="invalid-header", status=400, title="Invalid header")
INVALID_PARAMETER: Final = ProblemType(name="invalid-parameter", status=400, title="Invalid query parameter")
NOT_FOUND: Final = ProblemType(name="not-found", status=404, title="Not found")
METHOD_NOT_ALLOWED: Final = ProblemType(name="method-not-allowed", status=405, title="Method not allowed")
REQUEST_TIMEOUT: Final = ProblemType(name="request-timeout", status=408, title="The request came too slowly")
DUPLICATE_ORDER: Final = ProblemType(name="duplicate-order", status=409, title="Duplicate order")
STOCK_OUT_OF_BOUNDS: Final = ProblemType(
    name="stock-out-of-bounds", status=409, title="Stock would leave its bounds"
)
BROKEN_STOCK: Final = ProblemType(name="broken-stock", status=409, title="Stock is not a number")
BODY_TOO_LARGE: Final = ProblemType(name="body-too-large", status=413, title="Body too large")
UNSUPPORTED_BODY: Final = ProblemType(name="unsupported-body", status=415, title="Unsupported media type")
EXPECTATION_FAILED: Final = ProblemType(name="expectation-failed", status=417, title="Expectation failed")
INVALID_FIELDS: Final = ProblemType(name="invalid-fields", status=422, title="Invalid fields")
KEY_REUSED: Final = ProblemType(name="idempotency-key-reused", status=422, title="Idempotency-Key reused")
INTERNAL: Final = ProblemType(name="internal", status=500, title="Internal error")
STORE_UNAVAILABLE: Final = ProblemType(
    name="store-unavailable", status=503, title="The store is unavailable", retry_after_seconds=2
)
NOT_DURABLE: Final = ProblemType(
    name="not-durable", status=503, title="The order cannot be made durable", retry_after_seconds=2
)
OUTBOX_FULL: Final = ProblemType(
    name="outbox-full", status=503, title="Too many orders are waiting", retry_after_seconds=5
)
TOO_BUSY: Final = ProblemType(name="too-busy", status=503, title="Too many requests", retry_after_seconds=1)
TOO_MANY_CONNECTIONS: Final = ProblemType(
    name="too-many-connections", status=503, title="Too many connections", retry_after_seconds=1
)


class Problem(Exception):
    """Raised to answer with a problem. ``detail`` is for the client and shows nothing of our insides."""

    def __init__(
        self,
        kind: ProblemType,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
        closes: bool = False,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.headers = headers or {}
        self.members = members or {}
        self.closes = closes


def invalid(kind: ProblemType, errors: Sequence[FieldError]) -> Problem:
    """A problem that names each field or parameter at fault."""
    shown = errors[:MAX_ERRORS_SHOWN]
    fields = ", ".join(dict.fromkeys(error.field for error in shown[:5]))
    more = f" and {len(errors) - 5} more" if len(errors) > 5 else ""
    return Problem(kind, f"Wrong: {fields}{more}.", members={"errors": shown})


def problem_response(problem: Problem, instance: str, trace: Trace) -> web.Response:
    """The answer to a request. ``instance`` is the path that was asked for."""
    response = web.Response(
        body=_body(problem, instance, trace), status=problem.kind.status, headers=_headers(problem)
    )
    if problem.closes:
        response.force_close()
    return response


def raw_problem(problem: Problem, trace: Trace) -> bytes:
    """The same as bytes, for a connection on which no request has been read."""
    body = _body(problem, "/", trace)
    status = HTTPStatus(problem.kind.status)
    headers = _headers(problem) | {
        CORRELATION_HEADER: trace.correlation_id,
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status.value} {status.phrase}\r\n{head}\r\n".encode("ascii") + body


def printable(text: str) -> str:
    """What a client sent, fit to be shown: bounded, and without what UTF-8 cannot carry."""
    shown = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return shown if len(shown) <= _LONGEST_ECHO else shown[:_LONGEST_ECHO] + "…"


def _body(problem: Problem, instance: str, trace: Trace) -> bytes:
    kind = problem.kind
    standard: dict[str, Any] = {
        "type": kind.uri,
        "title": kind.title,
        "status": kind.status,
        "detail": problem.detail,
        "instance": instance,
        "correlation_id": trace.correlation_id,
    }
    return orjson.dumps({**standard, **problem.members})


def _headers(problem: Problem) -> dict[str, str]:
    headers = {"Content-Type": MEDIA_TYPE, **problem.headers}
    if problem.kind.retry_after_seconds is not None:
        headers["Retry-After"] = str(problem.kind.retry_after_seconds)
    return headers
