"""The dashboard's HTTP application: its routes, and the policy of its page."""

from typing import Final, Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry

from dashboard.overview.page import Page
from dashboard.overview.ports import BrokerObserver, ServiceObserver, StoreReader
from dashboard.routes import DashboardRoutes
from shared.health import Health
from shared.http.openapi import Info, described
from shared.http.routes import Route, application
from shared.service.operations import probes

SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}


INFO: Final = Info(
    title="Order pipeline: dashboard",
    description="""\
Shows the state of the whole pipeline, and lets operators look at dead letters, send them back or drop them.

Every answer carries `X-Correlation-ID`, every error is `application/problem+json`. Dead letters are behind
the token of `DASHBOARD_TOKEN`, or an operator's from the gateway (`Authorization: Bearer`, or its cookie);
without `DASHBOARD_TOKEN` they are shown on loopback too.
""",
    tags={
        "state": "The state of the pipeline.",
        "dead letters": "Messages that were given up, and what can be done with them.",
        "operations": "Probes.",
        "reference": "This description.",
    },
)


class RouteGroup(Protocol):
    """A group of routes."""

    def table(self) -> tuple[Route, ...]:
        """What they are."""


def build_app(
    *,
    store: StoreReader,
    brokers: BrokerObserver,
    services: ServiceObserver,
    health: Health,
    registry: CollectorRegistry,
    refresh_seconds: int,
    notice: str = "",
    dead_letters: RouteGroup | None = None,
) -> web.Application:
    """The whole of what the dashboard's port serves."""
    routes = DashboardRoutes(store, brokers, services, registry, Page(refresh_seconds, notice))
    further = () if dead_letters is None else dead_letters.table()
    return application(described(INFO, (*routes.table(), *further, *probes(health))))
