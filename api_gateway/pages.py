"""The pages that the gateway serves: its description, and the shop."""

from typing import Final

from api_gateway.routes import INFO
from shared.http.pages import docs_route, page_route
from shared.http.routes import Route

DASHBOARD_DOCS: Final = "The dashboard's API"


def page_table(dashboard_url: str | None = None) -> tuple[Route, ...]:
    """``GET /docs`` and ``GET /shop``; ``dashboard_url`` is where browsers find the dashboard, if known."""
    return (
        docs_route(INFO.title, {} if dashboard_url is None else {DASHBOARD_DOCS: f"{dashboard_url}/docs"}),
        page_route(
            "api_gateway",
            "shop",
            {},
            tag="shop",
            summary="The shop as customers see it",
            description="Works offline.",
        ),
    )
