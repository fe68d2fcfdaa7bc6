"""The door of a port: before a handler runs it is known who asks, and that they may.

With ``required`` a request needs a token wherever its route does not say ``public``. With ``optional`` one
without a token counts as an operator's, but for what concerns accounts themselves. A token that is sent
must be valid, whatever it is sent to.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from aiohttp import hdrs, web

from shared.http.auth import ANONYMOUS_OPERATOR, CALLER, NOBODY, ROLES, Access, AuthMode, Caller, Role
from shared.http.clients import client_of
from shared.http.problems import FORBIDDEN, SERVICE_UNAVAILABLE, UNAUTHORIZED, Problem, ProblemType
from shared.http.sparing import SparingLog
from shared.http.tokens import InvalidToken, TokenVerifier
from shared.logs import get_logger

SCHEME: Final = "bearer "
REALM: Final = 'Bearer realm="order-pipeline"'

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = SparingLog(get_logger(__name__))


class Guard:
    """Stands before every handler of a port."""

    def __init__(self, mode: AuthMode, verifier: TokenVerifier) -> None:
        self._mode = mode
        self._verifier = verifier

    def anonymous(self, access: Access) -> Caller | None:
        """As whom a request without a token passes, None where it does not."""
        if access in {Access.SIGNED_IN, Access.ADMIN}:
            return None
        if self._mode is AuthMode.OPTIONAL:
            return ANONYMOUS_OPERATOR
        return NOBODY if access is Access.PUBLIC else None

    def problems(self, access: Access) -> Sequence[ProblemType]:
        """What it answers instead of a handler."""
        forbidden = () if ROLES[access] == frozenset(Role) else (FORBIDDEN,)
        return (UNAUTHORIZED, *forbidden, SERVICE_UNAVAILABLE)

    def before(self, handler: _Handler, access: Access) -> _Handler:
        """The handler behind the door. It raises Problem with 401, 403 or 503 before its body is read."""
        anonymous, roles = self.anonymous(access), ROLES[access]

        async def guarded(request: web.Request) -> web.StreamResponse:
            authorization = request.headers.get(hdrs.AUTHORIZATION)
            if authorization is not None:
                caller = await self._caller(authorization, request)
                if caller.role not in roles:
                    raise Problem(FORBIDDEN, f"This takes an account whose role is {access}.")
                request[CALLER] = caller
            elif anonymous is not None:
                request[CALLER] = anonymous
            else:
                raise _unauthorized("Send an access token: Authorization: Bearer …", "")
            return await handler(request)

        return guarded

    async def _caller(self, authorization: str, request: web.Request) -> Caller:
        if authorization[: len(SCHEME)].lower() != SCHEME:
            raise _unauthorized("Only bearer tokens are taken: Authorization: Bearer …", "")
        token = authorization[len(SCHEME) :].strip()
        known = self._verifier.known(token)
        if known is not None:
            return known
        try:
            return await self._verifier.verify(token)
        except InvalidToken as error:
            log.warning("token refused", client=client_of(request), reason=str(error))
            detail = f"The access token does not hold: {error}. Get another one: POST /tokens."
            raise _unauthorized(detail, f', error="invalid_token", error_description="{error}"') from error


def _unauthorized(detail: str, why: str) -> Problem:
    return Problem(UNAUTHORIZED, detail, headers={hdrs.WWW_AUTHENTICATE: f"{REALM}{why}"})
