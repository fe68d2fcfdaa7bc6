"""The pieces of which the OpenAPI description is made."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from pydantic import TypeAdapter

from api_gateway import problems, schemas
from api_gateway.listing import MAX_LIMIT
from shared.http.problems import (
    CORRELATION_HEADER,
    EXPECTATION_FAILED,
    INTERNAL,
    INVALID_FIELDS,
    INVALID_PARAMETER,
    MALFORMED_REQUEST,
    MEDIA_TYPE,
    REQUEST_TIMEOUT,
    TOO_MANY_CONNECTIONS,
    ProblemType,
)
from shared.messages import IDENTIFIER_PATTERN

Json = dict[str, Any]

REQUESTS: Final = (schemas.OrderBody, schemas.SingleItemBody, schemas.StockBody, schemas.StockChangeBody)
ANSWERS: Final = (
    schemas.OrderReceipt,
    schemas.OrderView,
    schemas.OrderList,
    schemas.StockView,
    schemas.StockList,
    schemas.ProblemView,
    schemas.InvalidFieldsView,
    schemas.DuplicateOrderView,
)
EVERYWHERE: Final = (
    MALFORMED_REQUEST,
    REQUEST_TIMEOUT,
    EXPECTATION_FAILED,
    INTERNAL,
    TOO_MANY_CONNECTIONS,
)
"""What any route may answer, because it concerns the connection or ourselves."""
_REF: Final = "#/components/schemas/{model}"
_EXAMPLE_CORRELATION_ID: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
_CORRELATION_MEANING: Final = "Follows the request through every message, log line and timeline entry."


def operation(
    operation_id: str,
    tag: str,
    summary: str,
    description: str,
    answers: Mapping[str, Json],
    kinds: Sequence[ProblemType],
) -> Json:
    """One method of a path. ``kinds`` are the problems that it may answer with."""
    return {
        "operationId": operation_id,
        "tags": [tag],
        "summary": summary,
        "description": description,
        "parameters": [
            {
                "name": CORRELATION_HEADER,
                "in": "header",
                "description": f"{_CORRELATION_MEANING} What is too long or too strange is replaced.",
                "schema": {"type": "string"},
            }
        ],
        "responses": {**answers, **_problem_answers(kinds)},
    }


def _problem_answers(kinds: Sequence[ProblemType]) -> dict[str, Json]:
    """One answer per status; each kind of problem with that status is an example of it."""
    by_status: dict[int, list[ProblemType]] = {}
    for kind in dict.fromkeys((*kinds, *EVERYWHERE)):
        by_status.setdefault(kind.status, []).append(kind)
    return {str(status): _problem_answer(status, by_status[status]) for status in sorted(by_status)}


def _problem_answer(status: int, kinds: Sequence[ProblemType]) -> Json:
    views = list(dict.fromkeys(_view(kind) for kind in kinds))
    headers = {CORRELATION_HEADER: header(CORRELATION_HEADER)}
    if any(kind.retry_after_seconds is not None for kind in kinds):
        headers["Retry-After"] = header("Retry-After")
    schema = ref(views[0]) if len(views) == 1 else {"anyOf": [ref(view) for view in views]}
    return {
        "description": HTTPStatus(status).phrase,
        "headers": headers,
        "content": {
            MEDIA_TYPE: {
                "schema": schema,
                "examples": {kind.name: {"value": _problem_example(kind)} for kind in kinds},
            }
        },
    }


def _view(kind: ProblemType) -> type[schemas.ProblemView]:
    if kind in (INVALID_FIELDS, INVALID_PARAMETER):
        return schemas.InvalidFieldsView
    return schemas.DuplicateOrderView if kind is problems.DUPLICATE_ORDER else schemas.ProblemView


def _problem_example(kind: ProblemType) -> Json:
    example: Json = {
        "type": kind.uri,
        "title": kind.title,
        "status": kind.status,
        "detail": "What went wrong this time, in a sentence.",
        "instance": "/orders",
        "correlation_id": _EXAMPLE_CORRELATION_ID,
    }
    if kind is INVALID_FIELDS:
        example["errors"] = [{"field": "items.0.qty", "message": "must be at most 10000"}]
    elif kind is INVALID_PARAMETER:
        example["errors"] = [{"field": "limit", "message": f"must be a whole number from 1 to {MAX_LIMIT}"}]
    elif kind is problems.DUPLICATE_ORDER:
        example |= {"order_status": "created", "same_content": True}
    return example


def answer(description: str, view: type, headers: Mapping[str, Json] | None = None) -> Json:
    """A success in JSON."""
    correlation = {CORRELATION_HEADER: header(CORRELATION_HEADER)}
    return {
        "description": description,
        "headers": {**correlation, **(headers or {})},
        "content": {"application/json": {"schema": ref(view)}},
    }


def body(schema: Json, examples: Mapping[str, Json]) -> Json:
    """A JSON body that must be there."""
    return {"required": True, "content": {"application/json": {"schema": schema, "examples": dict(examples)}}}


def path_parameter(name: str, description: str) -> Json:
    """An id or a SKU in a path."""
    schema = {"type": "string", "pattern": IDENTIFIER_PATTERN}
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def query_parameter(name: str, description: str, schema: Json) -> Json:
    """A parameter that may be left out."""
    return {"name": name, "in": "query", "description": description, "schema": schema}


def ref(view: type) -> Json:
    """A reference to a schema of :func:`component_schemas`."""
    return {"$ref": _REF.format(model=view.__name__)}


def header(name: str) -> Json:
    """A reference to a header of :func:`component_headers`."""
    return {"$ref": f"#/components/headers/{name}"}


def component_headers() -> Json:
    """The headers that answers have."""
    return {
        CORRELATION_HEADER: {
            "description": _CORRELATION_MEANING,
            "schema": {"type": "string", "minLength": 1, "maxLength": 128},
        },
        "Location": {
            "description": "Where the order is found.",
            "schema": {"type": "string", "format": "uri-reference"},
        },
        "Idempotent-Replayed": {
            "description": "`true` where this is the first answer to the same Idempotency-Key again.",
            "schema": {"type": "string", "const": "true"},
        },
        "Retry-After": {
            "description": "After how many seconds to ask again.",
            "schema": {"type": "integer", "minimum": 1},
        },
    }


def component_schemas() -> Json:
    """What is sent and answered, under the names of the classes."""
    inputs: list[tuple[str, Any, TypeAdapter[Any]]] = [
        *((view.__name__, "validation", TypeAdapter(view)) for view in REQUESTS),
        *((view.__name__, "serialization", TypeAdapter(view)) for view in ANSWERS),
    ]
    _, definitions = TypeAdapter.json_schemas(inputs, ref_template=_REF)
    schemas_by_name: Json = definitions["$defs"]
    for schema in schemas_by_name.values():
        schema["description"] = schema["description"].replace("``", "`")
    return schemas_by_name
