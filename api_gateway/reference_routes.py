"""The API's description, and a page that draws it with nothing from elsewhere."""

import base64
import hashlib
from importlib.resources import files

import orjson
from aiohttp import web

from api_gateway.openapi import document


class ReferenceRoutes:
    """Both are made once, when the application is built."""

    def __init__(self) -> None:
        self._document = orjson.dumps(document())
        self._page, self._policy = _page()

    async def openapi(self, _: web.Request) -> web.Response:
        """``GET /openapi.json``"""
        return web.Response(body=self._document, content_type="application/json")

    async def docs(self, _: web.Request) -> web.Response:
        """``GET /docs``"""
        headers = {"Content-Security-Policy": self._policy, "X-Content-Type-Options": "nosniff"}
        return web.Response(text=self._page, content_type="text/html", headers=headers)


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
