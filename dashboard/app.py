"""The dashboard's HTTP application: its routes, and the policy of its page."""

from typing import Final, Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry

from dashboard.overview.page import Page
from dashboard.overview.ports import BrokerObserver, ServiceObserver, StoreReader
from dashboard.routes import DashboardRoutes
from shared.health import Health
from shared.service.operations import add_operations_routes

SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}


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
    app = web.Application()
    add_operations_routes(app, health, None)
    DashboardRoutes(store, brokers, services, registry, Page(refresh_seconds, notice)).add_to(app)
    if dead_letters is not None:
        dead_letters.add_to(app)
    return app
