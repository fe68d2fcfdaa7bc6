"""The dashboard's HTTP application: its routes, and what holds for every answer."""

from typing import Final, Protocol

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CollectorRegistry

from dashboard.overview.page import Page
from dashboard.overview.ports import BrokerObserver, ServiceObserver, StoreReader
from dashboard.routes import DashboardRoutes
from shared.context import logging_about, trace_of
from shared.errors import StoreUnavailable
from shared.health import Health
from shared.http.problems import (
    CORRELATION_HEADER,
    INTERNAL,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    STORE_UNAVAILABLE,
    Problem,
    problem_response,
)
from shared.logs import get_logger
from shared.service.operations import add_operations_routes

SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

log = get_logger(__name__)


class Routes(Protocol):
    """A group of routes."""

    def add_to(self, app: web.Application) -> None:
        """Makes ``app`` serve them."""


def build_app(
    *,
    store: StoreReader,
    brokers: BrokerObserver,
    services: ServiceObserver,
    health: Health,
    registry: CollectorRegistry,
    refresh_seconds: int,
    notice: str = "",
    dead_letters: Routes | None = None,
) -> web.Application:
    """The whole of what the dashboard's port serves."""
    app = web.Application(middlewares=[answer_every_request])
    add_operations_routes(app, health, None)
    DashboardRoutes(store, brokers, services, registry, Page(refresh_seconds, notice)).add_to(app)
    if dead_letters is not None:
        dead_letters.add_to(app)
    return app


@web.middleware
async def answer_every_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Gives every answer its correlation id, and makes a problem of every error."""
    trace = trace_of(request.headers.get(CORRELATION_HEADER), request.headers.get("traceparent"))
    with logging_about(correlation_id=trace.correlation_id):
        try:
            response = await handler(request)
        except Exception as error:  # noqa: BLE001 - the border: the caller gets a problem, the log the rest
            response = problem_response(_problem_of(error, request), request.rel_url.raw_path, trace)
    response.headers[CORRELATION_HEADER] = trace.correlation_id
    response.headers.update(SECURITY_HEADERS)
    return response


def _problem_of(error: Exception, request: web.Request) -> Problem:
    match error:
        case Problem():
            return error
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            return Problem(METHOD_NOT_ALLOWED, f"This resource takes {allowed}.", headers={"Allow": allowed})
        case web.HTTPNotFound():
            return Problem(NOT_FOUND, "There is nothing at this path.")
        case StoreUnavailable():
            log.warning("store away", path=request.path, reason=str(error))
            return Problem(STORE_UNAVAILABLE, "The store did not answer in time. Ask again.")
        case _:
            log.error("request failed", method=request.method, path=request.path, exc_info=error)
            return Problem(INTERNAL, "The request could not be handled. It has been logged.")
