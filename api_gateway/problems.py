"""The kinds of problem that the gateway answers with, beside those that every HTTP service has."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from shared.messages import Trace
from shared.problems import CORRELATION_HEADER, Problem, ProblemType, problem_body, problem_headers

MAX_ERRORS_SHOWN: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """What is wrong with one field. ``field`` is a dotted path such as ``items.0.qty``."""

    field: str
    message: str


MALFORMED_REQUEST: Final = ProblemType(name="malformed-request", status=400, title="Not an HTTP request")
MALFORMED_JSON: Final = ProblemType(name="malformed-json", status=400, title="Not strict JSON")
INVALID_HEADER: Final = ProblemType(name="invalid-header", status=400, title="Invalid header")
INVALID_PARAMETER: Final = ProblemType(name="invalid-parameter", status=400, title="Invalid query parameter")
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


def invalid(kind: ProblemType, errors: Sequence[FieldError]) -> Problem:
    """A problem that names each field or parameter at fault."""
    shown = errors[:MAX_ERRORS_SHOWN]
    fields = ", ".join(dict.fromkeys(error.field for error in shown[:5]))
    more = f" and {len(errors) - 5} more" if len(errors) > 5 else ""
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
