"""Signing in for browsers: the tokens in cookies that no script can read and no other site sends."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import orjson
from aiohttp import hdrs, web

from shared.customers.schemas import LONGEST_REFRESH_TOKEN, CredentialsBody
from shared.http.auth import Access
from shared.http.bodies import read_body
from shared.http.client import AskedService, ServiceAnswer
from shared.http.clients import is_secure
from shared.http.forwarding import handed_back, handed_on
from shared.http.guard import COOKIE, TOKEN, check_origin
from shared.http.hosts import AllowedHosts
from shared.http.limits import HttpLimits
from shared.http.negotiation import JSON
from shared.http.problems import DATABASE_UNAVAILABLE, TOO_MANY_ATTEMPTS, UNAUTHORIZED, Problem
from shared.http.rates import SIGNING_IN
from shared.http.routes import Route

PATH: Final = "/session"
REFRESH_COOKIE: Final = "order_pipeline_refresh"
REFRESH_SECONDS: Final = 30 * 86_400
TAG: Final = "sessions"
_TOKEN: Final = re.compile(rf"[!-~]{{1,{LONGEST_REFRESH_TOKEN}}}")
_LOOPBACK: Final = AllowedHosts("127.0.0.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView:
    """For how many seconds the cookie holds. ``POST /session/refresh`` renews it."""

    expires_in: int


class SessionRoutes:
    """Signs browsers in and out, by accounts."""

    def __init__(self, accounts: AskedService, limits: HttpLimits) -> None:
        self._accounts = accounts
        self._limits = limits

    async def begin(self, request: web.Request) -> web.Response:
        """``POST /session``"""
        check_origin(request)
        body = await read_body(request, self._limits, JSON)
        answer = await self._accounts.send("POST", "/tokens", headers=handed_on(request), body=body)
        return _begun(request, answer)

    async def renew(self, request: web.Request) -> web.Response:
        """``POST /session/refresh``"""
        check_origin(request)
        refresh_token = _refresh_token(request)
        if refresh_token is None:
            detail = "There is no session. Sign in: POST /session."
            raise Problem(UNAUTHORIZED, detail, headers={hdrs.WWW_AUTHENTICATE: "Bearer"})
        return _begun(request, await self._renewed(handed_on(request), refresh_token))

    async def end(self, request: web.Request) -> web.Response:
        """``DELETE /session``"""
        check_origin(request)
        headers = handed_on(request)
        if TOKEN not in request and (refresh_token := _refresh_token(request)) is not None:
            renewed = await self._renewed(headers, refresh_token)
            if renewed.status == HTTPStatus.OK:  # the access token's time was over, the session's is not
                headers[hdrs.AUTHORIZATION] = f"Bearer {orjson.loads(renewed.body)['access_token']}"
            elif renewed.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                return handed_back(renewed)
        if hdrs.AUTHORIZATION in headers:
            ended = await self._accounts.send("DELETE", "/tokens", headers=headers)
            if ended.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                return handed_back(ended)
        response = web.Response(status=204)
        response.del_cookie(COOKIE)
        response.del_cookie(REFRESH_COOKIE, path=_path(request))
        return response

    async def _renewed(self, headers: Mapping[str, str], refresh_token: str) -> ServiceAnswer:
        body = orjson.dumps({"refresh_token": refresh_token})
        sent = {**headers, hdrs.CONTENT_TYPE: JSON}
        return await self._accounts.send("POST", "/tokens/refresh", headers=sent, body=body)

    def table(self) -> tuple[Route, ...]:
        """What is served, and described."""

        def route(name: str, method: str, path: str, **further: Any) -> Route:
            return Route(name=name, method=method, path=path, access=Access.PUBLIC, tag=TAG, **further)

        refusals = (UNAUTHORIZED, TOO_MANY_ATTEMPTS, DATABASE_UNAVAILABLE)
        return (
            route(
                "beginSession",
                "POST",
                PATH,
                handler=self.begin,
                rate=SIGNING_IN,
                summary="Sign in with a cookie",
                description="For pages of this origin. What changes something takes their `Origin` then.",
                meaning="Two cookies hold the tokens.",
                answer=SessionView,
                bodies=(CredentialsBody,),
                problems=refusals,
                headers={200: ("Set-Cookie",)},
            ),
            route(
                "renewSession",
                "POST",
                f"{PATH}/refresh",
                handler=self.renew,
                summary="Renew the cookie",
                description="By the other cookie.",
                meaning="The cookies are new.",
                answer=SessionView,
                problems=refusals,
                headers={200: ("Set-Cookie",)},
            ),
            route(
                "endSession",
                "DELETE",
                PATH,
                handler=self.end,
                summary="Sign out",
                description="Ends the session and takes the cookies away.",
                status=204,
                meaning="There is no session any more.",
                answer=None,
                problems=(DATABASE_UNAVAILABLE,),
                headers={204: ("Set-Cookie",)},
            ),
        )


def _refresh_token(request: web.Request) -> str | None:
    """What the cookie holds, where it can be a token at all."""
    found = _TOKEN.fullmatch(request.cookies.get(REFRESH_COOKIE, ""))
    return None if found is None else found[0]


def _begun(request: web.Request, answer: ServiceAnswer) -> web.Response:
    """Tokens as cookies; a refusal as it is."""
    if answer.status != 200:
        return handed_back(answer)
    tokens = orjson.loads(answer.body)
    seconds = int(tokens["expires_in"])
    response = web.Response(body=orjson.dumps(SessionView(expires_in=seconds)), content_type=JSON)
    _set(response, request, COOKIE, tokens["access_token"], seconds, "/")
    _set(response, request, REFRESH_COOKIE, tokens["refresh_token"], REFRESH_SECONDS, _path(request))
    return response


def _set(
    response: web.Response, request: web.Request, name: str, value: str, seconds: int, path: str
) -> None:
    """Off loopback it goes over TLS alone, which is a proxy's there; and on it, where it came so."""
    secure = is_secure(request) or request.headers.get(hdrs.HOST, "") not in _LOOPBACK
    response.set_cookie(
        name, value, max_age=seconds, path=path, httponly=True, samesite="Strict", secure=secure
    )


def _path(request: web.Request) -> str:
    """Of the session, under whichever prefix it was asked for."""
    return f"{request.path.partition(PATH)[0]}{PATH}"
