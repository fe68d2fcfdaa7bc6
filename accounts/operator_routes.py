"""What the operator of this system asks of accounts itself; the gateway fronts none of it.

A client that knows the operator's secret, which lies in the system's data folder, gets an admin's token. So
there is no first account with a password that is known, and commands of the operator prove themselves to
every service in the same way as people do.
"""

import hmac
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from aiohttp import web
from pydantic import Field, SecretStr

from accounts.keys import SigningKeys
from accounts.model import OPERATOR_ID
from accounts.signing_in import SigningIn, refused
from shared.http.answers import json_response
from shared.http.attempts import FailedAttempts
from shared.http.auth import Access, Caller, Role, actor_of
from shared.http.bodies import JsonBodies
from shared.http.clients import peer_of
from shared.http.problems import (
    DATABASE_UNAVAILABLE,
    FORBIDDEN,
    TOO_MANY_ATTEMPTS,
    UNAUTHORIZED,
    Problem,
)
from shared.http.routes import Route
from shared.http.validation import Body, read_fields

TAG: Final = "operator"
MEANING: Final = "For the operator of this system; not to be had through the gateway."


class SecretBody(Body):
    """The operator's secret."""

    secret: Annotated[str, Field(min_length=1, max_length=256)]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTokenView:
    """An access token with every right, and for how many seconds it holds."""

    access_token: str
    token_type: Literal["bearer"]
    expires_in: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyView:
    """The key that signs from now on."""

    kid: str


class OperatorRoutes:
    """The routes, over the one secret."""

    def __init__(
        self,
        secret: SecretStr | None,
        signing_in: SigningIn,
        keys: SigningKeys,
        *,
        bodies: JsonBodies,
        token_seconds: float,
    ) -> None:
        self._secret = secret
        self._signing_in = signing_in
        self._keys = keys
        self._bodies = bodies
        self._token_seconds = token_seconds
        self._attempts = FailedAttempts()

    def table(self) -> tuple[Route, ...]:
        """What is served, and described."""
        return (
            Route(
                method="POST",
                path="/operator/tokens",
                handler=self.issue,
                access=Access.PUBLIC,
                name="issueOperatorToken",
                tag=TAG,
                summary="Get an admin's token for the operator's secret",
                description=MEANING,
                meaning="The token.",
                answer=OperatorTokenView,
                bodies=(SecretBody,),
                problems=(UNAUTHORIZED, FORBIDDEN, TOO_MANY_ATTEMPTS, DATABASE_UNAVAILABLE),
            ),
            Route(
                method="POST",
                path="/operator/keys",
                handler=self.rotate,
                access=Access.ADMIN,
                name="rotateKeys",
                tag=TAG,
                summary="Sign with a new key from now on",
                description=f"{MEANING} Nobody is signed out: tokens of the last key hold until they expire.",
                meaning="The new key.",
                answer=KeyView,
                problems=(DATABASE_UNAVAILABLE,),
            ),
        )

    async def issue(self, request: web.Request) -> web.Response:
        """``POST /operator/tokens``"""
        client = peer_of(request)  # no proxy stands before this route, and an invented address is free
        if self._secret is None:
            raise Problem(FORBIDDEN, "No secret of an operator is set here: see ACCOUNTS_OPERATOR_SECRET.")
        self._attempts.check(client)
        given = read_fields(SecretBody, await self._bodies.read(request)).secret
        if not hmac.compare_digest(given.encode(), self._secret.get_secret_value().encode()):
            self._attempts.failed(client, "operator secret")
            raise refused("That is not the operator's secret.")
        token = self._signing_in.access_token(Caller(id=OPERATOR_ID, role=Role.ADMIN))
        return json_response(
            OperatorTokenView(
                access_token=token,
                token_type="bearer",  # noqa: S106 - the kind of token
                expires_in=int(self._token_seconds),
            )
        )

    async def rotate(self, request: web.Request) -> web.Response:
        """``POST /operator/keys``"""
        return json_response(KeyView(kid=await self._keys.rotate(by=actor_of(request))))
