"""Who may look at dead letters and act on them: whoever has the token, or is on this machine.

A browser must not do it on behalf of a foreign page, which can make it send requests to loopback. That such a
page lets a name of its own point here is met by the server, on every port.
"""

import hmac
from dataclasses import dataclass, field

from aiohttp import web
from pydantic import SecretStr

from shared.http.attempts import FailedAttempts
from shared.http.clients import client_of
from shared.http.problems import FORBIDDEN, UNAUTHORIZED, Problem
from shared.urls import is_loopback


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterAccess:
    """``bound_to`` is the address on which the dashboard listens."""

    bound_to: str
    token: SecretStr | None
    attempts: FailedAttempts = field(default_factory=FailedAttempts)

    def check(self, request: web.Request) -> None:
        """Raises Problem with 401, 403 or 429."""
        if self.token is not None:
            self._check_token(request, self.token)
        elif not is_loopback(self.bound_to):
            raise Problem(
                FORBIDDEN, "Dead letters are shown off this machine only behind a token: set DASHBOARD_TOKEN."
            )
        origin = request.headers.get("Origin")
        if origin is not None and origin.partition("://")[2] != request.headers.get("Host"):
            raise Problem(FORBIDDEN, "This is not for pages of another origin.")

    def _check_token(self, request: web.Request, token: SecretStr) -> None:
        client, authorization = client_of(request), request.headers.get("Authorization", "")
        self.attempts.check(client)
        scheme, _, given = authorization.partition(" ")
        wanted = token.get_secret_value().encode()
        is_right = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), wanted)
        if scheme.lower() != "bearer" or not is_right:
            if authorization:
                self.attempts.failed(client, "dead-letter token")
            raise Problem(
                UNAUTHORIZED,
                "Dead letters are behind a token: send Authorization: Bearer with that of DASHBOARD_TOKEN.",
                headers={"WWW-Authenticate": "Bearer"},
            )
