"""A page that draws the API's description with nothing from elsewhere."""

import base64
import hashlib
from importlib.resources import files

from aiohttp import web

from shared.http.auth import Access
from shared.http.routes import Route


def docs_route() -> Route:
    """``GET /docs``. The page is made once."""
    page, policy = _page()

    async def docs(_: web.Request) -> web.Response:
        return web.Response(text=page, content_type="text/html", headers={"Content-Security-Policy": policy})

    return Route(
        path="/docs",
        handler=docs,
        access=Access.PUBLIC,
        name="docs",
        tag="reference",
        summary="This description as a page",
        description="Works offline.",
        meaning="The page.",
        answer={"type": "string"},
        media_type="text/html",
    )


def _page() -> tuple[str, str]:
    """The page with its style and its script inside, and the policy that lets these two run and no other."""
    folder = files("api_gateway").joinpath("static")
    page, style, script = (
        folder.joinpath(f"docs.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")
    )
    policy = (
        "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'self'; "
        f"frame-ancestors 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    )
    return page.replace("{{style}}", style).replace("{{script}}", script), policy


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
