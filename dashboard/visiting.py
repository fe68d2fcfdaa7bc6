"""Pages for operators: behind the same door as what they show, with refusals that a person can read."""

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from dashboard.access import NOT_ON_LOOPBACK, OperatorAccess
from dashboard.rendering import Pages
from shared.errors import BrokerUnavailable, StoreUnavailable
from shared.http.auth import Access
from shared.http.bodies import JsonBodies
from shared.http.guard import SAFE_METHODS
from shared.http.limits import HttpLimits
from shared.http.problems import (
    FORBIDDEN,
    NOT_FOUND,
    STORE_UNAVAILABLE,
    TOO_MANY_ATTEMPTS,
    UNAUTHORIZED,
    Problem,
    ProblemType,
)
from shared.http.routes import Handler, Route

_REFUSALS: Final = (UNAUTHORIZED, FORBIDDEN, TOO_MANY_ATTEMPTS, NOT_FOUND, STORE_UNAVAILABLE)
_NONE: Final[Mapping[str, str]] = {}
_FORMS: Final = JsonBodies(HttpLimits())
_LATER: Final = "This page comes back by itself."
_UNCLEAR: Final = "Whether anything was done is not known: look before you ask again, which does no harm."
_SIGN_IN: Final = "Sign in as an operator on the gateway's page /shop, in this browser, and come back."


class Visits:
    """Makes routes of pages."""

    def __init__(self, pages: Pages, access: OperatorAccess, shop_url: str | None = None) -> None:
        self._pages = pages
        self._shop_url = shop_url
        self._access = access

    def route(
        self, path: str, handler: Handler, *, problems: tuple[ProblemType, ...] = (), **more: Any
    ) -> Route:
        """A page at this path."""
        return Route(
            path=path,
            handler=self._guarded(handler),
            access=Access.OPERATOR,
            tag="pages",
            answer={"type": "string"},
            media_type="text/html",
            problems=(*_REFUSALS, *problems),
            **({"meaning": "The page."} | more),
        )

    def page(self, template: str, *, status: int = 200, **variables: Any) -> web.Response:
        """An answer with this page."""
        text = self._pages.render(template, **variables)
        return web.Response(text=text, status=status, content_type="text/html")

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            try:
                await self._access.check(request)
                return await handler(request)
            except Problem as problem:
                if not is_browser(request):
                    raise
                kind, more = problem.kind, [_SIGN_IN] if problem.kind is UNAUTHORIZED else []
                may_sign_in = kind is UNAUTHORIZED or problem.detail == NOT_ON_LOOPBACK
                more += [f"{fault.field} {fault.message}." for fault in problem.members.get("errors", ())]
                detail = " ".join((problem.detail, *more))
                return self._refused(
                    request,
                    kind.status,
                    kind.title,
                    detail,
                    problem.headers,
                    sign_in=self._shop_url if may_sign_in else None,
                )
            except (StoreUnavailable, BrokerUnavailable) as error:
                if not is_browser(request):
                    raise
                advice = _LATER if request.method in SAFE_METHODS else _UNCLEAR
                return self._refused(request, 503, "Not now", f"{str(error).rstrip('.')}. {advice}")

        return guarded

    def _refused(
        self,
        request: web.Request,
        status: int,
        title: str,
        detail: str,
        headers: Mapping[str, str] = _NONE,
        *,
        sign_in: str | None = None,
    ) -> web.Response:
        answer = self.page(
            "refusal.html",
            status=status,
            what=title,
            detail=detail,
            sign_in=sign_in,
            renews=request.method in SAFE_METHODS,
            follows=False,
        )
        answer.headers.update(headers)
        return answer


def is_browser(request: web.Request) -> bool:
    """Whether the client names HTML, as all browsers do: others get the problem."""
    return "text/html" in ",".join(request.headers.getall("Accept", ()))


async def form(request: web.Request) -> Mapping[str, str]:
    """The fields that a page sent. Raises Problem with 400, 408, 413 or 415."""
    return await _FORMS.form(request)
