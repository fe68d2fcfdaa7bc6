"""The dashboard's HTTP application: its routes, and the policy of its page."""

from collections.abc import Sequence
from typing import Final, Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry

from dashboard.access import OperatorAccess
from dashboard.overview.whole import Overview
from dashboard.rendering import Pages
from dashboard.routes import DashboardRoutes
from shared.health import Health
from shared.http.openapi import Info, described
from shared.http.pages import docs_route
from shared.http.routes import Route, application
from shared.service.operations import probes

SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",  # without a referrer browsers would not say whose page sends a form
}


GATEWAY_DOCS: Final = "The gateway's API"
INFO: Final = Info(
    title="Order pipeline: dashboard",
    description="""\
Shows the state of the whole pipeline, and lets operators look at orders and
dead letters, move orders on, and send letters back or drop them.

Every answer carries `X-Correlation-ID`, every error is `application/problem+json`, or a
page for browsers that asked for one.
Orders, dead letters and `/events` are behind the token of `DASHBOARD_TOKEN`, or an operator's from the
gateway (`Authorization: Bearer`, or its cookie); without `DASHBOARD_TOKEN` they are shown on loopback too.
""",
    tags={
        "state": "The state of the pipeline.",
        "pages": "What people look at in a browser, and its forms.",
        "dead letters": "Messages that were given up, and what can be done with them.",
        "operations": "Probes.",
        "reference": "This description.",
    },
    bearer="`DASHBOARD_TOKEN`, or the `access_token` of an operator that `POST /tokens` of the gateway gave.",
)


class RouteGroup(Protocol):
    """A group of routes."""

    def table(self) -> tuple[Route, ...]:
        """What they are."""


def build_app(
    *,
    overview: Overview,
    health: Health,
    registry: CollectorRegistry,
    pages: Pages,
    access: OperatorAccess,
    further: Sequence[RouteGroup] = (),
    gateway_url: str | None = None,
) -> web.Application:
    """The whole of what the dashboard's port serves.

    ``gateway_url`` is where browsers find the gateway, if that is known.
    """
    groups = (DashboardRoutes(overview, registry, pages, access), *further)
    routes = (route for group in groups for route in group.table())
    docs = docs_route(INFO.title, {} if gateway_url is None else {GATEWAY_DOCS: f"{gateway_url}/docs"})
    return application(described(INFO, (*routes, *probes(health), docs), access))
