"""A route, declared once: what registers it also describes it, and so cannot say something else."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from aiohttp import hdrs, web

from shared.http.auth import Access
from shared.http.guard import Guard
from shared.http.negotiation import JSON
from shared.http.problems import ProblemType
from shared.http.rates import Rate

Json = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
RequestHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

TEXT: Final = "text/plain"
MOST_REMEMBERED: Final = 1_024
LONGEST_REMEMBERED: Final = 128
"""Paths, and their characters."""
_PATH_PARAMETER: Final = re.compile(r"{(\w+)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a request. ``place`` is ``query``, ``header`` or ``path``."""

    name: str
    description: str
    schema: Json
    place: str = "query"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method of a path, and everything that a client may rely on.

    ``access`` says who may call it, and ``rate`` how often, beside what holds for all. The success has
    ``status`` and is an ``answer``: a class, a schema where there is none, or None where it has no body.
    ``bodies`` are classes of which the request's is one, and ``form`` is the class of one that may come as a
    form instead. ``headers`` names what answers of a status have beside the standard ones, and ``plain``
    gives the text of those that come as ``text/plain`` to clients which prefer it. ``bodiless`` gives the
    meaning of further statuses that come without a body.
    """

    method: str = "GET"
    path: str
    handler: Handler
    access: Access
    rate: Rate | None = None
    name: str
    tag: str
    summary: str
    description: str = ""
    status: int = 200
    meaning: str
    answer: type | Json | None
    media_type: str = JSON
    example: Json | None = None
    parameters: Sequence[Parameter] = ()
    bodies: Sequence[type] = ()
    form: type | None = None
    body_examples: Mapping[str, Json] = field(default_factory=dict)
    problems: Sequence[ProblemType] = ()
    bodiless: Mapping[int, str] = field(default_factory=dict)
    headers: Mapping[int, Sequence[str]] = field(default_factory=dict)
    plain: Mapping[int, str] = field(default_factory=dict)

    @property
    def path_parameters(self) -> Sequence[str]:
        """The names in the path's braces."""
        return _PATH_PARAMETER.findall(self.path)


def application(
    routes: Iterable[Route], guard: Guard | None = None, *, prefixes: Sequence[str] = ("",)
) -> web.Application:
    """An application that has these routes, to be served by ``serve``, which makes problems of errors.

    Each is there under each of the ``prefixes``. Without a ``guard`` they are open to who reaches the port.
    """
    app = web.Application()
    for route in routes:
        handler = route.handler if guard is None else guard.before(route.handler, route.access, route.rate)
        for prefix in prefixes:
            if route.method == "GET":
                app.router.add_get(prefix + route.path, handler)  # and HEAD
            else:
                app.router.add_route(route.method, prefix + route.path, handler)
    return app


class Dispatch:
    """Hands requests to their handlers: after one look where the path has no parameters or was asked for
    lately, else aiohttp's way."""

    def __init__(self, app: web.Application, otherwise: RequestHandler) -> None:
        self._otherwise = otherwise
        self._known: dict[tuple[str, str], web.UrlMappingMatchInfo] = {}
        self._lately: dict[tuple[str, str], web.UrlMappingMatchInfo] = {}
        for resource in app.router.resources():
            for route in resource if isinstance(resource, web.PlainResource) else ():
                self._known[route.method, resource.canonical] = found = web.UrlMappingMatchInfo({}, route)
                found.add_app(app)
                found.freeze()

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Raises what the handler raises, and aiohttp's own errors where there is none."""
        asked = request.method, request.raw_path
        found = self._known.get(asked) or self._lately.get(asked)
        request = cast(web.Request, request)
        if found is not None and hdrs.EXPECT not in request.headers:
            request._match_info = found
            return await found.handler(request)
        response = await self._otherwise(request)
        found = request._match_info
        if isinstance(found, web.UrlMappingMatchInfo) and len(request.raw_path) <= LONGEST_REMEMBERED:
            if len(self._lately) >= MOST_REMEMBERED:
                self._lately.clear()
            self._lately[asked] = found
        return response
