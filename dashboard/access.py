"""Who may look at orders and letters and act on them: operators, clients with the token or on this machine.

A browser must not do it on behalf of a foreign page, which can make it send requests to loopback. That such a
page lets a name of its own point here is met by the server, on every port.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from aiohttp import hdrs, web
from pydantic import SecretStr

from shared.errors import ServiceUnavailable
from shared.http.attempts import FailedAttempts
from shared.http.auth import ANONYMOUS_OPERATOR, CALLER, NOBODY, ROLES, Access, Caller
from shared.http.clients import client_of
from shared.http.guard import COOKIE, check_origin, is_foreign
from shared.http.problems import FORBIDDEN, UNAUTHORIZED, Problem, ProblemType
from shared.http.tokens import InvalidToken, TokenVerifier
from shared.urls import is_loopback

JWT_DOTS: Final = 2
NOT_ON_LOOPBACK: Final = (
    "Off loopback this is for operators: sign in as one on the gateway's page /shop, in this browser. "
    "For scripts, DASHBOARD_TOKEN sets a token."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorAccess:
    """``bound_to`` is the address on which the dashboard listens; ``verifier`` knows tokens of accounts."""

    bound_to: str
    token: SecretStr | None
    verifier: TokenVerifier | None = None
    attempts: FailedAttempts = field(default_factory=FailedAttempts)

    def anonymous(self, access: Access) -> Caller | None:
        """As whom a request without a token passes, None where it does not."""
        if access is Access.PUBLIC:
            return NOBODY
        return ANONYMOUS_OPERATOR if self.token is None and is_loopback(self.bound_to) else None

    def problems(self, access: Access, method: str) -> Sequence[ProblemType]:
        """None: each of the routes behind it declares them."""
        return ()

    def may_admit(self, request: web.Request) -> bool:
        """Whether what is for operators may be open to this browser, without asking accounts."""
        return self.anonymous(Access.OPERATOR) is not None or COOKIE in request.cookies

    async def check(self, request: web.Request) -> None:
        """Raises Problem with 401, 403 or 429."""
        if await self._is_operator(request):
            pass
        elif self.token is not None:
            self._check_token(request, self.token)
        elif not is_loopback(self.bound_to):
            raise Problem(FORBIDDEN, NOT_ON_LOOPBACK)
        if is_foreign(request):
            raise Problem(FORBIDDEN, "This is not for pages of another origin.")

    async def _is_operator(self, request: web.Request) -> bool:
        """Whether a token of accounts says so, sent by hand or held in the cookie that the gateway gave."""
        by_hand = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")[2].strip()
        token = by_hand or request.cookies.get(COOKIE, "")
        if self.verifier is None or token.count(".") != JWT_DOTS:
            return False
        try:
            caller = self.verifier.known(token) or await self.verifier.verify(token)
        except (InvalidToken, ServiceUnavailable):
            return False
        if caller.role not in ROLES[Access.OPERATOR]:
            return False
        if not by_hand:
            check_origin(request)
        request[CALLER] = caller
        return True

    def _check_token(self, request: web.Request, token: SecretStr) -> None:
        client, authorization = client_of(request), request.headers.get("Authorization", "")
        self.attempts.check(client)
        scheme, _, given = authorization.partition(" ")
        wanted = token.get_secret_value().encode()
        is_right = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), wanted)
        if scheme.lower() != "bearer" or not is_right:
            if authorization:
                self.attempts.failed(client, "dashboard token")
            raise Problem(
                UNAUTHORIZED,
                "This is behind a token: that of DASHBOARD_TOKEN, or an operator's.",
                headers={"WWW-Authenticate": "Bearer"},
            )
