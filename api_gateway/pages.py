"""The pages that the gateway serves: its description, that of the events, and the shop."""

from typing import Final

import orjson
from aiohttp import web

from api_gateway.routes import INFO
from shared.contracts import asyncapi
from shared.http.auth import Access
from shared.http.negotiation import JSON
from shared.http.pages import docs_route, page_route
from shared.http.routes import Route

DASHBOARD_DOCS: Final = "The dashboard's API"


def page_table(dashboard_url: str | None = None) -> tuple[Route, ...]:
    """``GET /docs``, ``/asyncapi.json`` and ``/shop``.

    ``dashboard_url`` is where browsers find the dashboard, if that is known.
    """
    return (
        docs_route(INFO.title, {} if dashboard_url is None else {DASHBOARD_DOCS: f"{dashboard_url}/docs"}),
        _events_route(),
        page_route(
            "api_gateway",
            "shop",
            {},
            tag="shop",
            summary="The shop as customers see it",
            description="Works offline.",
        ),
    )


def _events_route() -> Route:
    """The document is made once."""
    body = orjson.dumps(asyncapi())

    async def show(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type=JSON)

    return Route(
        path="/asyncapi.json",
        handler=show,
        access=Access.PUBLIC,
        name="asyncapi",
        tag="reference",
        summary="The events, and where they travel",
        description="AsyncAPI 3, with the JSON Schema of each event.",
        meaning="The description of the events.",
        answer={"type": "object"},
    )
