"""What the dashboard answers, and in which form."""

from typing import Final

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry

from dashboard.overview.document import document
from dashboard.overview.exposition import expose
from dashboard.overview.page import Page
from dashboard.overview.ports import BrokerObserver, ServiceObserver, StoreReader
from dashboard.overview.state import Answer, PipelineState, Question, StoreState
from shared.errors import StoreUnavailable
from shared.http.exposition import wants_exposition

_NEGOTIATED: Final = {"Vary": "Accept"}
_STATIC_FILES: Final = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}


class DashboardRoutes:
    """The routes, over the store and the brokers."""

    def __init__(
        self,
        store: StoreReader,
        brokers: BrokerObserver,
        services: ServiceObserver,
        registry: CollectorRegistry,
        page: Page,
    ) -> None:
        self._store = store
        self._brokers = brokers
        self._services = services
        self._registry = registry
        self._page = page

    def add_to(self, app: web.Application) -> None:
        """Makes ``app`` serve them."""
        app.router.add_get("/", self.page)
        app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/static/{name}", self.static)

    async def metrics(self, request: web.Request) -> web.Response:
        """The figures: to a scraper in its own format, whether the store answers or not; else as JSON."""
        accept = ",".join(request.headers.getall("Accept", ()))
        if wants_exposition(accept):
            body, content_type = expose(await self._state(), self._registry, accept)
            return web.Response(body=body, headers={"Content-Type": content_type, **_NEGOTIATED})
        question = _question(request)
        figures = await self._store.read()
        answer = await self._store.answer(question)
        state = self._together(figures, None)
        body = orjson.dumps(
            document(state, figures, question, answer),
            option=orjson.OPT_UTC_Z | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
        )
        return web.Response(body=body, content_type="application/json", headers=_NEGOTIATED)

    async def page(self, request: web.Request) -> web.Response:
        """The live page. It is shown without the store too, and says so, in words and by its status."""
        state, question = await self._state(), _question(request)
        try:
            answer = Answer() if state.store is None else await self._store.answer(question)
        except StoreUnavailable:
            answer = Answer()
        return web.Response(
            text=self._page.render(state, question, answer),
            status=200 if state.store is not None else 503,
            content_type="text/html",
        )

    async def static(self, request: web.Request) -> web.Response:
        """The few files that the page refers to."""
        name = request.match_info["name"]
        if name not in _STATIC_FILES:
            raise web.HTTPNotFound
        return web.Response(
            text=self._page.files[name],
            content_type=_STATIC_FILES[name],
            headers={"Cache-Control": "no-cache"},
        )

    async def _state(self) -> PipelineState:
        try:
            store, fault = await self._store.read(), None
        except StoreUnavailable as error:
            store, fault = None, str(error)
        return self._together(store, fault)

    def _together(self, store: StoreState | None, fault: str | None) -> PipelineState:
        brokers, services = self._brokers.state(), self._services.states()
        return PipelineState(store=store, store_fault=fault, broker=brokers, services=services)


def _question(request: web.Request) -> Question:
    return Question(sku=request.query.get("sku"), order_id=request.query.get("order_id"))
