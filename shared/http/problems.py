"""Errors over HTTP: ``application/problem+json``, as RFC 9457 has it, with the request's correlation id."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import islice
from typing import Any, Final

import orjson
from aiohttp import web

from shared.http.answers import WholeResponse
from shared.messages import Trace

MEDIA_TYPE: Final = "application/problem+json"
CORRELATION_HEADER: Final = "X-Correlation-ID"
MAX_ERRORS_SHOWN: Final = 20
_LONGEST_ECHO: Final = 96


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """What is wrong with one field. ``field`` is a dotted path such as ``items.0.qty``."""

    field: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemView:
    """What went wrong, as RFC 9457 has it. Some problems have more members than these."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    correlation_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InvalidFieldsView(ProblemView):
    """Each field or parameter that is wrong, with what is wrong about it."""

    errors: Sequence[FieldError]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceUnavailableView(ProblemView):
    """The service that is needed for this, and away."""

    service: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemType:
    """A kind of problem, stable across releases. ``retry_after_seconds`` asks the client to come again.

    ``view`` is what is answered, as JSON, and ``example`` what it has beside the standard members.
    """

    name: str
    status: int
    title: str
    retry_after_seconds: int | None = None
    view: type[ProblemView] = ProblemView
    example: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def uri(self) -> str:
        """The reference that stands in ``type``."""
        return f"/problems/{self.name}"


MALFORMED_REQUEST: Final = ProblemType(name="malformed-request", status=400, title="Not an HTTP request")
MALFORMED_JSON: Final = ProblemType(name="malformed-json", status=400, title="Not strict JSON")
MALFORMED_FORM: Final = ProblemType(name="malformed-form", status=400, title="Not a form")
INVALID_PARAMETER: Final = ProblemType(
    name="invalid-parameter",
    status=400,
    title="Invalid query parameter",
    view=InvalidFieldsView,
    example={"errors": [{"field": "limit", "message": "must be a whole number from 1 to 200"}]},
)
UNAUTHORIZED: Final = ProblemType(name="unauthorized", status=401, title="Unauthorized")
FORBIDDEN: Final = ProblemType(name="forbidden", status=403, title="Forbidden")
NOT_FOUND: Final = ProblemType(name="not-found", status=404, title="Not found")
METHOD_NOT_ALLOWED: Final = ProblemType(name="method-not-allowed", status=405, title="Method not allowed")
REQUEST_TIMEOUT: Final = ProblemType(name="request-timeout", status=408, title="The request came too slowly")
BODY_TOO_LARGE: Final = ProblemType(name="body-too-large", status=413, title="Body too large")
UNSUPPORTED_BODY: Final = ProblemType(name="unsupported-body", status=415, title="Unsupported media type")
EXPECTATION_FAILED: Final = ProblemType(name="expectation-failed", status=417, title="Expectation failed")
MISDIRECTED: Final = ProblemType(name="misdirected", status=421, title="Not a name of this service")
INVALID_FIELDS: Final = ProblemType(
    name="invalid-fields",
    status=422,
    title="Invalid fields",
    view=InvalidFieldsView,
    example={"errors": [{"field": "items.0.qty", "message": "must be at most 10000"}]},
)
TOO_MANY_ATTEMPTS: Final = ProblemType(
    name="too-many-attempts", status=429, title="Too many failed attempts", retry_after_seconds=12
)
TOO_MANY_REQUESTS: Final = ProblemType(
    name="too-many-requests", status=429, title="This client asks too often", retry_after_seconds=1
)
HEAD_TOO_LARGE: Final = ProblemType(name="head-too-large", status=431, title="Head too large")
INTERNAL: Final = ProblemType(name="internal", status=500, title="Internal error")
STORE_UNAVAILABLE: Final = ProblemType(
    name="store-unavailable", status=503, title="The store is unavailable", retry_after_seconds=2
)
BROKER_UNAVAILABLE: Final = ProblemType(
    name="broker-unavailable", status=503, title="No broker is available", retry_after_seconds=2
)
DATABASE_UNAVAILABLE: Final = ProblemType(
    name="database-unavailable", status=503, title="The database is unavailable", retry_after_seconds=2
)
SERVICE_UNAVAILABLE: Final = ProblemType(
    name="service-unavailable",
    status=503,
    title="A service is unavailable",
    retry_after_seconds=2,
    view=ServiceUnavailableView,
    example={"service": "accounts"},
)
TOO_BUSY: Final = ProblemType(name="too-busy", status=503, title="Too many requests", retry_after_seconds=1)
TOO_MANY_CONNECTIONS: Final = ProblemType(
    name="too-many-connections", status=503, title="Too many connections", retry_after_seconds=1
)

EVERYWHERE: Final = (
    MALFORMED_REQUEST,
    MISDIRECTED,
    REQUEST_TIMEOUT,
    EXPECTATION_FAILED,
    HEAD_TOO_LARGE,
    INTERNAL,
    TOO_BUSY,
    TOO_MANY_CONNECTIONS,
)
"""What any route may answer, because it concerns the connection or the server."""
WITH_BODY: Final = (
    MALFORMED_JSON,
    BODY_TOO_LARGE,
    UNSUPPORTED_BODY,
    INVALID_FIELDS,
)
"""What any route with a body may answer."""


class Problem(Exception):
    """Raised to answer with a problem. ``detail`` is for the client and shows nothing of our insides.

    ``members`` stand beside the standard ones; ``closes`` ends the connection after the answer.
    """

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


def problem_response(problem: Problem, instance: str, trace: Trace) -> web.Response:
    """The answer to a request. ``instance`` is the path that was asked for."""
    response = WholeResponse(
        body=problem_body(problem, instance, trace),
        status=problem.kind.status,
        headers=problem_headers(problem),
    )
    if problem.closes:
        response.force_close()
    return response


def problem_body(problem: Problem, instance: str, trace: Trace) -> bytes:
    """The problem as JSON."""
    standard = {
        "type": problem.kind.uri,
        "title": problem.kind.title,
        "status": problem.kind.status,
        "detail": problem.detail,
        "instance": printable(instance),
        "correlation_id": trace.correlation_id,
    }
    return orjson.dumps(standard | dict(problem.members))


def problem_headers(problem: Problem) -> dict[str, str]:
    """The headers that a problem brings with it."""
    headers = {"Content-Type": MEDIA_TYPE, **problem.headers}
    if problem.kind.retry_after_seconds is not None:
        headers.setdefault("Retry-After", str(problem.kind.retry_after_seconds))
    return headers


def invalid(kind: ProblemType, errors: Iterable[FieldError]) -> Problem:
    """A problem that names each field or parameter at fault; past the first 20 none is even looked for."""
    shown = list(islice(errors, MAX_ERRORS_SHOWN))
    fields = ", ".join(dict.fromkeys(error.field for error in shown[:5]))
    others = len(shown) - 5
    more = f" and {others} more" if 0 < others < MAX_ERRORS_SHOWN - 5 else " and more" if others > 0 else ""
    return Problem(kind, f"Wrong: {fields}{more}.", members={"errors": shown})


def raw_problem(problem: Problem, trace: Trace) -> bytes:
    """The same as bytes, for a connection on which no request has been read."""
    body = problem_body(problem, "/", trace)
    status = HTTPStatus(problem.kind.status)
    headers = problem_headers(problem) | {
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
