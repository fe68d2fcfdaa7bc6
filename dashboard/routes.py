"""What the dashboard answers, and in which form."""

from typing import Final

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry

from dashboard.access import OperatorAccess
from dashboard.overview.attention import Flow, attention, flow
from dashboard.overview.document import document
from dashboard.overview.exposition import expose
from dashboard.overview.page import overview_page
from dashboard.overview.state import Answer, Question
from dashboard.overview.whole import Overview
from dashboard.rendering import Pages
from shared.errors import StoreUnavailable
from shared.http.auth import Access
from shared.http.exposition import wants_exposition
from shared.http.problems import STORE_UNAVAILABLE
from shared.http.routes import Parameter, Route

_NEGOTIATED: Final = {"Vary": "Accept"}
_STATIC_FILES: Final = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}

_QUESTION: Final = (
    Parameter(name="sku", description="Adds `inventory_level`, null if unknown.", schema={"type": "string"}),
    Parameter(
        name="order_id",
        description="Adds `notification_status` and `order_status`, null if unknown. No token is asked for.",
        schema={"type": "string"},
    ),
)
_OBJECTS: Final = (
    "orders",
    "inventory",
    "notifications",
    "outbox",
    "undecided",
    "untold",
    "unpaid",
    "log",
    "queues",
    "dead_letters",
    "further_stores",
    "services",
)
_FIGURES: Final = {
    "type": "object",
    "required": ["processed_orders_count", *_OBJECTS, "broker_nodes", "store", "attention", "flow", "as_of"],
    "properties": {
        "processed_orders_count": {"type": ["integer", "null"]},
        **{name: {"type": "object"} for name in _OBJECTS},
        "flow": {"type": "string", "enum": list(Flow)},
        "broker_nodes": {"type": "array", "items": {"type": "object"}},
    },
}


class DashboardRoutes:
    """The routes about the pipeline as a whole."""

    def __init__(
        self, overview: Overview, registry: CollectorRegistry, pages: Pages, access: OperatorAccess
    ) -> None:
        self._access = access
        self._overview = overview
        self._registry = registry
        self._pages = pages

    def table(self) -> tuple[Route, ...]:
        """What is served, and described."""
        return (
            Route(
                path="/",
                handler=self.page,
                access=Access.PUBLIC,
                name="page",
                tag="state",
                summary="The live page",
                description="Shown without the store too, then with 503.",
                meaning="The page.",
                answer={"type": "string"},
                media_type="text/html",
                parameters=_QUESTION,
            ),
            Route(
                path="/metrics",
                handler=self.metrics,
                access=Access.PUBLIC,
                name="metrics",
                tag="state",
                summary="The figures of the pipeline",
                description="JSON, or Prometheus' formats for those who name `text/plain` or "
                "`application/openmetrics-text` in `Accept` with a q at least as high as JSON's.",
                meaning="The figures; null where one is not known.",
                answer=_FIGURES,
                parameters=_QUESTION,
                problems=(STORE_UNAVAILABLE,),
                plain={200: "pipeline_store_up 1.0\n"},
            ),
            Route(
                path="/attention",
                handler=self.attention,
                access=Access.PUBLIC,
                name="attention",
                tag="state",
                summary="What needs attention",
                description="The sentences of the page, word by word, the gravest first; none where all is "
                "well. Answered while the store is away, too.",
                meaning="What is wrong, with what helps, and what becomes of an order that is placed now.",
                answer={
                    "type": "object",
                    "required": ["attention", "flow"],
                    "properties": {
                        "attention": {"type": "array", "items": {"type": "string"}},
                        "flow": {"type": "string", "enum": list(Flow)},
                    },
                },
            ),
            *(
                Route(
                    path=f"/static/{name}",
                    handler=self.static,
                    name=name.replace(".", "_"),
                    tag="state",
                    summary="One of the few files that the page refers to",
                    meaning="The file.",
                    answer={"type": "string"},
                    media_type=media_type,
                    access=Access.PUBLIC,
                )
                for name, media_type in _STATIC_FILES.items()
            ),
        )

    async def metrics(self, request: web.Request) -> web.Response:
        """The figures: to a scraper in its own format, whether the store answers or not; else as JSON."""
        accept = ",".join(request.headers.getall("Accept", ()))
        if wants_exposition(accept):
            body, content_type = expose(await self._overview.state(), self._registry, accept)
            return web.Response(body=body, headers={"Content-Type": content_type, **_NEGOTIATED})
        question = _question(request)
        figures = await self._overview.store.read()
        answer = await self._overview.store.answer(question)
        state = self._overview.around(figures)
        body = orjson.dumps(
            document(state, figures, question, answer),
            option=orjson.OPT_UTC_Z | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
        )
        return web.Response(body=body, content_type="application/json", headers=_NEGOTIATED)

    async def attention(self, _: web.Request) -> web.Response:
        """What the page says first, for those who do not read HTML."""
        state = await self._overview.state()
        said = {"attention": attention(state), "flow": flow(state)}
        return web.Response(body=orjson.dumps(said), content_type="application/json")

    async def page(self, request: web.Request) -> web.Response:
        """The live page. It is shown without the store too, and says so, in words and by its status."""
        state, question = await self._overview.state(), _question(request)
        try:
            answer = Answer() if state.store is None else await self._overview.store.answer(question)
        except StoreUnavailable:
            answer = Answer()
        return web.Response(
            text=overview_page(
                self._pages,
                state,
                self._overview.pace,
                question,
                answer,
                follows=self._access.may_admit(request),
            ),
            status=200 if state.store is not None else 503,
            content_type="text/html",
        )

    async def static(self, request: web.Request) -> web.Response:
        """One of the few files that the page refers to."""
        name = request.path.rpartition("/")[2]
        return web.Response(
            text=self._pages.files[name],
            content_type=_STATIC_FILES[name],
            headers={"Cache-Control": "no-cache"},
        )


def _question(request: web.Request) -> Question:
    return Question(sku=request.query.get("sku"), order_id=request.query.get("order_id"))
