"""The OpenAPI 3.1 description of a table of routes, from the classes that validate and write JSON."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final, Protocol

import orjson
from aiohttp import web
from pydantic import BaseModel, TypeAdapter

from shared.health import PROCESS_HEADER
from shared.http.auth import Access, Caller
from shared.http.bodies import FORM
from shared.http.negotiation import JSON
from shared.http.problems import (
    CORRELATION_HEADER,
    EVERYWHERE,
    MEDIA_TYPE,
    TOO_MANY_REQUESTS,
    WITH_BODY,
    ProblemType,
)
from shared.http.routes import TEXT, Json, Parameter, Route
from shared.messages import IDENTIFIER_PATTERN

_REF: Final = "#/components/schemas/{model}"
_CORRELATION_ID: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
_CORRELATION_MEANING: Final = "Follows the request through every message, log line and timeline entry."
_HEADERS: Final[Mapping[str, Json]] = {
    CORRELATION_HEADER: {
        "description": _CORRELATION_MEANING,
        "schema": {"type": "string", "minLength": 1, "maxLength": 128},
    },
    PROCESS_HEADER: {
        "description": "The process that answers.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "Location": {
        "description": "Where the order, or the product, is found.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "ETag": {
        "description": "Stands for this state of the product, for `If-Match` and `If-None-Match`.",
        "schema": {"type": "string"},
    },
    "X-Cache": {
        "description": "`hit`: from the cache. `miss`: from the database, and in the cache now. `bypass`: "
        "past the cache. `stale`: of before, because the database is away.",
        "schema": {"type": "string", "enum": ["hit", "miss", "stale", "bypass"]},
    },
    "X-Catalogue-Version": {
        "description": "From the catalogue itself: the last write that the answer knows of.",
        "schema": {"type": "string"},
    },
    "Idempotent-Replayed": {
        "description": "`true` where this is the first answer to the same Idempotency-Key again.",
        "schema": {"type": "string", "const": "true"},
    },
    "Set-Cookie": {
        "description": "`HttpOnly` and `SameSite=Strict`.",
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": "How many requests are left, and after how many seconds all of them are.",
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {
        "description": "How many requests there are in how many seconds.",
        "schema": {"type": "string"},
    },
    "WWW-Authenticate": {
        "description": "What is wrong with the token, as RFC 6750 has it.",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "After how many seconds to ask again.",
        "schema": {"type": "integer", "minimum": 1},
    },
}
_CORRELATION: Final = Parameter(
    name=CORRELATION_HEADER,
    place="header",
    description=f"{_CORRELATION_MEANING} What is too long or too strange is replaced.",
    schema={"type": "string"},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """What the description says of the whole. ``tags`` gives each tag's meaning.

    Every path is there under each of the ``prefixes``. ``bearer`` says which tokens are taken.
    """

    title: str
    description: str
    tags: Mapping[str, str]
    prefixes: Sequence[str] = ("",)
    bearer: str = "The `access_token` that `POST /tokens` gave."


class Door(Protocol):
    """What stands before the handlers of a port, as clients meet it."""

    def anonymous(self, access: Access) -> Caller | None:
        """As whom a request without a token passes, None where it does not."""

    def problems(self, access: Access, method: str) -> Sequence[ProblemType]:
        """What it answers instead of a handler, beside what the route itself declares."""


def described(info: Info, routes: Sequence[Route], door: Door | None = None) -> tuple[Route, ...]:
    """The routes and ``GET /openapi.json``, which describes them, itself, and the ``door`` before them."""
    body = b""

    async def openapi(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type=JSON)

    itself = Route(
        path="/openapi.json",
        handler=openapi,
        access=Access.PUBLIC,
        name="openapi",
        tag="reference",
        summary="This description",
        description="Works offline.",
        meaning="This description.",
        answer={"type": "object"},
    )
    table = (*routes, itself)
    body = orjson.dumps(document(info, table, door))
    return table


def query_parameters(model: type[BaseModel]) -> tuple[Parameter, ...]:
    """The parameters of a query that ``model`` validates."""
    properties: Mapping[str, Json] = model.model_json_schema()["properties"]
    return tuple(
        Parameter(name=name, description=schema.get("description", ""), schema=schema)
        for name, schema in properties.items()
    )


def document(info: Info, routes: Sequence[Route], door: Door | None = None) -> Json:
    """The whole description."""
    paths: Json = {}
    routes = routes if door is None else [_behind(door, route) for route in routes]
    for route in routes:
        operation = paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
        if door is not None:
            without: list[Json] = [{}] if door.anonymous(route.access) else []
            operation["security"] = [*without, {"bearer": []}]
    bearer = {"type": "http", "scheme": "bearer", "description": info.bearer}
    schemes = {} if door is None else {"securitySchemes": {"bearer": bearer}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": info.title,
            "version": version("order-pipeline"),
            "description": info.description,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": prefix or "/"} for prefix in info.prefixes],
        "tags": [{"name": name, "description": meaning} for name, meaning in info.tags.items()],
        "paths": paths,
        "components": {"schemas": _schemas(routes), "headers": dict(_HEADERS), **schemes},
    }


def _behind(door: Door, route: Route) -> Route:
    """The route with what the door may answer in its place."""
    headers = {**route.headers, 401: (*route.headers.get(401, ()), "WWW-Authenticate")}
    problems = door.problems(route.access, route.method)
    if TOO_MANY_REQUESTS in (*route.problems, *problems):
        headers[429] = (*route.headers.get(429, ()), "RateLimit", "RateLimit-Policy")
    return replace(route, problems=(*route.problems, *problems), headers=headers)


def _problems(route: Route) -> Iterator[ProblemType]:
    yield from dict.fromkeys(
        (*route.problems, *(WITH_BODY if route.bodies or route.form else ()), *EVERYWHERE)
    )


def _operation(route: Route) -> Json:
    named = {parameter.name for parameter in route.parameters}
    identifiers = (
        Parameter(name=name, place="path", description=f"The {name}.", schema=_identifier(name))
        for name in route.path_parameters
        if name not in named
    )
    operation: Json = {
        "operationId": route.name,
        "tags": [route.tag],
        "summary": route.summary,
        "description": route.description,
        "parameters": [_parameter(each) for each in (_CORRELATION, *identifiers, *route.parameters)],
        "responses": {str(route.status): _success(route)} | _bodiless(route) | _refusals(route),
    }
    contents = {} if route.form is None else {FORM: {"schema": _ref(route.form)}}
    if route.bodies:
        refs = [_ref(body) for body in route.bodies]
        content: Json = {"schema": refs[0] if len(refs) == 1 else {"oneOf": refs}}
        content["examples"] = {name: {"value": example} for name, example in route.body_examples.items()}
        contents = {JSON: content, **contents}
    if contents:
        operation["requestBody"] = {"required": True, "content": contents}
    return operation


_IDENTIFIERS: Final = {"id": "order123", "sku": "mag-safe-phone-case"}
"""Examples of those that paths name; others stand for themselves."""


def _identifier(name: str) -> Json:
    return {"type": "string", "pattern": IDENTIFIER_PATTERN, "examples": [_IDENTIFIERS.get(name, name)]}


def _parameter(parameter: Parameter) -> Json:
    found: Json = {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "schema": parameter.schema,
    }
    return found | ({"required": True} if parameter.place == "path" else {})


def _success(route: Route) -> Json:
    success: Json = {
        "description": route.meaning,
        "headers": _headers(CORRELATION_HEADER, *route.headers.get(route.status, ())),
        "content": _plain(route, route.status),
    }
    if route.answer is not None:
        content: Json = {"schema": _ref(route.answer) if isinstance(route.answer, type) else route.answer}
        if route.example is not None:
            content["example"] = route.example
        success["content"] = {route.media_type: content} | success["content"]
    return success


def _bodiless(route: Route) -> dict[str, Json]:
    return {
        str(status): {
            "description": meaning,
            "headers": _headers(CORRELATION_HEADER, *route.headers.get(status, ())),
            "content": {},
        }
        for status, meaning in route.bodiless.items()
    }


def _refusals(route: Route) -> dict[str, Json]:
    """One answer per status; each kind of problem with that status is an example of it."""
    by_status: dict[int, list[ProblemType]] = {}
    for kind in _problems(route):
        by_status.setdefault(kind.status, []).append(kind)
    return {str(status): _refusal(route, status, by_status[status]) for status in sorted(by_status)}


def _refusal(route: Route, status: int, kinds: Sequence[ProblemType]) -> Json:
    refs = [_ref(view) for view in dict.fromkeys(kind.view for kind in kinds)]
    comes_again = ["Retry-After"] if any(kind.retry_after_seconds is not None for kind in kinds) else []
    content: Json = {
        "schema": refs[0] if len(refs) == 1 else {"anyOf": refs},
        "examples": {kind.name: {"value": _example(kind, route.path)} for kind in kinds},
    }
    return {
        "description": HTTPStatus(status).phrase,
        "headers": _headers(CORRELATION_HEADER, *comes_again, *route.headers.get(status, ())),
        "content": {MEDIA_TYPE: content} | _plain(route, status),
    }


def _example(kind: ProblemType, path: str) -> Json:
    return {
        "type": kind.uri,
        "title": kind.title,
        "status": kind.status,
        "detail": "What went wrong this time, in a sentence.",
        "instance": path,
        "correlation_id": _CORRELATION_ID,
        **kind.example,
    }


def _plain(route: Route, status: int) -> Json:
    text = route.plain.get(status)
    return {} if text is None else {TEXT: {"schema": {"type": "string"}, "example": text}}


def _headers(*names: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _ref(view: type) -> Json:
    return {"$ref": _REF.format(model=view.__name__)}


def _schemas(routes: Iterable[Route]) -> Json:
    """What is sent and answered, under the names of the classes."""
    bodies = {body: None for route in routes for body in (*route.bodies, route.form) if body is not None}
    views = {route.answer: None for route in routes if isinstance(route.answer, type)}
    views |= {kind.view: None for route in routes for kind in _problems(route)}
    inputs: list[tuple[str, Any, TypeAdapter[Any]]] = [
        *((body.__name__, "validation", TypeAdapter(body)) for body in bodies),
        *((view.__name__, "serialization", TypeAdapter(view)) for view in views),
    ]
    _, definitions = TypeAdapter.json_schemas(inputs, ref_template=_REF)
    schemas: Json = definitions["$defs"]
    for schema in schemas.values():
        schema["description"] = schema["description"].replace("``", "`")
    return schemas
