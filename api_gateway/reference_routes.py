"""Pages that the gateway serves whole: the API's description, and the shop; with nothing from elsewhere."""

import base64
import hashlib
from importlib.resources import files

from aiohttp import web

from shared.http.auth import Access
from shared.http.routes import Route


def docs_route() -> Route:
    """``GET /docs``."""
    return _page_route("docs", tag="reference", summary="This description as a page")


def shop_route() -> Route:
    """``GET /shop``."""
    return _page_route("shop", tag="shop", summary="The shop as customers see it")


def _page_route(name: str, *, tag: str, summary: str) -> Route:
    """The page is made once."""
    page, policy = _page(name)

    async def show(_: web.Request) -> web.Response:
        return web.Response(text=page, content_type="text/html", headers={"Content-Security-Policy": policy})

    return Route(
        path=f"/{name}",
        handler=show,
        access=Access.PUBLIC,
        name=name,
        tag=tag,
        summary=summary,
        description="Works offline.",
        meaning="The page.",
        answer={"type": "string"},
        media_type="text/html",
    )


def _page(name: str) -> tuple[str, str]:
    """The page with its style and its script inside, and the policy that lets these two run and no other."""
    folder = files("api_gateway").joinpath("static")
    page, style, script = (
        folder.joinpath(f"{name}.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")
    )
    policy = (
        "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'self'; "
        f"frame-ancestors 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    )
    return page.replace("{{style}}", style).replace("{{script}}", script), policy


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
