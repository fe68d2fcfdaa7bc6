"""Pages that a service serves whole: style and script are inside, and nothing comes from elsewhere."""

import base64
import hashlib
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final

from aiohttp import web
from markupsafe import Markup, escape

from shared.http.auth import Access
from shared.http.routes import Route

_PLACE: Final = re.compile(r"\{\{(\w+)\}\}")


def docs_route(title: str, elsewhere: Mapping[str, str]) -> Route:
    """``GET /docs``, which draws the ``/openapi.json`` of its own port.

    ``elsewhere`` has the addresses of other descriptions, by what the links to them say.
    """
    links = Markup().join(
        Markup('<a class="elsewhere" href="{}">{}</a>\n').format(address, name)
        for name, address in elsewhere.items()
    )
    return page_route(
        "shared.http",
        "docs",
        {"title": escape(title), "elsewhere": links},
        tag="reference",
        summary="This description as a page",
        description="Works offline. Each operation with its `curl` command, to be copied or tried there.",
    )


def page_route(package: str, name: str, values: Mapping[str, Markup], **further: Any) -> Route:
    """``GET /{name}``: the page of this name among the ``package``'s static files, which is made once.

    ``values`` stand where its HTML says ``{{key}}``; ``further`` is what else a Route takes.
    """
    page, policy = _page(package, name, values)

    async def show(_: web.Request) -> web.Response:
        return web.Response(text=page, content_type="text/html", headers={"Content-Security-Policy": policy})

    return Route(
        path=f"/{name}",
        handler=show,
        access=Access.PUBLIC,
        name=name,
        meaning="The page.",
        answer={"type": "string"},
        media_type="text/html",
        **further,
    )


def _page(package: str, name: str, values: Mapping[str, Markup]) -> tuple[str, str]:
    """The page with its style and its script inside, and the policy that lets these two run and no other."""
    folder = files(package).joinpath("static")
    page, style, script = (
        folder.joinpath(f"{name}.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")
    )
    policy = (
        "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'self'; "
        f"frame-ancestors 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    )
    inside = {**values, "style": style, "script": script}
    return _PLACE.sub(lambda place: inside[place[1]], page), policy


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
