"""The door of a port: before a handler runs it is known who asks, and that they may.

With ``required`` a request needs a token wherever its route does not say ``public``. With ``optional`` one
without a token counts as an operator's, but for what concerns accounts themselves. A token that is sent
must be valid, whatever it is sent to; only a browser's cookie, which comes by itself, is passed over where
it is not needed. Where there is a rate, it is counted by account, or by address.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, cast

from aiohttp import hdrs, web

from shared.errors import ServiceUnavailable
from shared.http.auth import ANONYMOUS_OPERATOR, CALLER, NOBODY, ROLES, Access, AuthMode, Caller, Role
from shared.http.clients import client_of, is_secure
from shared.http.problems import (
    FORBIDDEN,
    SERVICE_UNAVAILABLE,
    TOO_MANY_REQUESTS,
    UNAUTHORIZED,
    Problem,
    ProblemType,
)
from shared.http.rates import Rate, RateLimiter
from shared.http.sparing import SparingLog
from shared.http.tokens import InvalidToken, TokenVerifier
from shared.logs import get_logger

SCHEME: Final = "bearer "
COOKIE: Final = "order_pipeline_token"
TOKEN: Final = web.RequestKey("token", str)
"""The valid token that a request came with, for services that are asked on its behalf."""
SAFE_METHODS: Final = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})
REALM: Final = 'Bearer realm="order-pipeline"'

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = SparingLog(get_logger(__name__))


class Guard:
    """Stands before every handler of a port."""

    def __init__(
        self,
        mode: AuthMode,
        verifier: TokenVerifier,
        rate: Rate | None = None,
        *,
        confirms: Callable[[Caller], Awaitable[bool]] | None = None,
    ) -> None:
        """``confirms`` is asked whether an admin is one still, where the route takes one."""
        self._mode = mode
        self._verifier = verifier
        self._limiter = None if rate is None else RateLimiter(rate)
        self._confirms = confirms

    def anonymous(self, access: Access) -> Caller | None:
        """As whom a request without a token passes, None where it does not."""
        if access in {Access.SIGNED_IN, Access.ADMIN}:
            return None
        if self._mode is AuthMode.OPTIONAL:
            return ANONYMOUS_OPERATOR
        return NOBODY if access is Access.PUBLIC else None

    def problems(self, access: Access, method: str) -> Sequence[ProblemType]:
        """What it answers instead of a handler."""
        is_for_all = ROLES[access] == frozenset(Role) and method in SAFE_METHODS
        forbidden = () if is_for_all else (FORBIDDEN,)
        limited = () if self._limiter is None else (TOO_MANY_REQUESTS,)
        return (UNAUTHORIZED, *forbidden, *limited, SERVICE_UNAVAILABLE)

    def before(self, handler: _Handler, access: Access, rate: Rate | None = None) -> _Handler:
        """The handler behind the door. Problems with 401, 403, 429 and 503 are raised before a body is read.

        A ``rate`` of its own counts by address: it is for those who have no token yet.
        """
        anonymous, roles, general = self.anonymous(access), ROLES[access], self._limiter
        confirms = self._confirms if access is Access.ADMIN else None
        is_public = access is Access.PUBLIC
        own = None if rate is None or general is None else RateLimiter(rate)

        async def guarded(request: web.Request) -> web.StreamResponse:
            token, is_cookie = sent_token(request)
            caller = anonymous if token is None else self._verifier.known(token)
            limits: Mapping[str, str] = {}
            if general is not None:
                limits = general.take((caller and caller.id) or client_of(request))
            if own is not None:
                limits = own.take(client_of(request))
            if caller is None:
                if token is None:
                    raise _unauthorized("Send an access token: Authorization: Bearer …", "")
                caller = await self._verified(token, request, anonymous if is_cookie and is_public else None)
                if general is not None and own is None and caller.id is not None:
                    limits = general.take(caller.id)
            if not caller.is_anonymous:
                if is_cookie:
                    check_origin(request)
                if caller.role not in roles or (confirms is not None and not await confirms(caller)):
                    raise Problem(FORBIDDEN, f"This takes an account whose role is {access}.")
                request[TOKEN] = cast(str, token)
            request[CALLER] = caller
            if not limits:
                return await handler(request)
            try:
                response = await handler(request)
            except Problem as problem:
                problem.headers = {**limits, **problem.headers}
                raise
            for name, told in limits.items():
                response.headers.setdefault(name, told)  # a service behind may have a rate of its own
            return response

        return guarded

    async def _verified(self, token: str, request: web.Request, otherwise: Caller | None) -> Caller:
        """Whose the token is; ``otherwise``, if that is somebody, where it does not hold."""
        try:
            return await self._verifier.verify(token)
        except ServiceUnavailable:
            if otherwise is None:
                raise
            return otherwise
        except InvalidToken as error:
            if otherwise is not None:
                return otherwise
            log.warning("token refused", client=client_of(request), reason=str(error))
            detail = f"The access token does not hold: {error}. Get another one: POST /tokens."
            raise _unauthorized(detail, f', error="invalid_token", error_description="{error}"') from error


def sent_token(request: web.Request) -> tuple[str | None, bool]:
    """The token of a request, if it has one, and whether it came by itself, in a browser's cookie."""
    authorization = request.headers.get(hdrs.AUTHORIZATION)
    if authorization is not None:
        if authorization[: len(SCHEME)].lower() != SCHEME:
            raise _unauthorized("Only bearer tokens are taken: Authorization: Bearer …", "")
        return authorization[len(SCHEME) :].strip(), False
    if hdrs.COOKIE not in request.headers:
        return None, False
    token = request.cookies.get(COOKIE)
    return token, token is not None


def is_foreign(request: web.Request) -> bool:
    """Whether a page of another origin sends this; who names no origin is no browser's page."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None:
        return False
    scheme, _, host = origin.partition("://")
    return host != request.headers.get(hdrs.HOST) or (is_secure(request) and scheme != "https")


def check_origin(request: web.Request) -> None:
    """Raises Problem with 403 where a page of another origin may have sent what changes something."""
    if request.method in SAFE_METHODS:
        return
    if hdrs.ORIGIN not in request.headers or is_foreign(request):
        detail = "With a cookie, what changes something is taken from pages of this origin alone."
        raise Problem(FORBIDDEN, detail)


def _unauthorized(detail: str, why: str) -> Problem:
    return Problem(UNAUTHORIZED, detail, headers={hdrs.WWW_AUTHENTICATE: f"{REALM}{why}"})
