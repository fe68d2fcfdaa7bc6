"""Who asks, and what they may do: roles, what a route demands of its callers, and the caller of a request."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from aiohttp import web

from shared.http.clients import client_of


class Role(StrEnum):
    """What an account may do, as its tokens say it."""

    CUSTOMER = "customer"
    OPERATOR = "operator"
    ADMIN = "admin"


class Access(StrEnum):
    """Who may call a route. Each of the last two includes the roles above it.

    ``customer`` is every account, ``signed_in`` too: the former also lets in who counts as an operator
    without a token, the latter takes a token always.
    """

    PUBLIC = "public"
    CUSTOMER = "customer"
    SIGNED_IN = "signed_in"
    OPERATOR = "operator"
    ADMIN = "admin"


class AuthMode(StrEnum):
    """Whether a request needs a token. Without one it counts as an operator's in ``optional``."""

    OPTIONAL = "optional"
    REQUIRED = "required"


ROLES: Final = {
    Access.PUBLIC: frozenset(Role),
    Access.CUSTOMER: frozenset(Role),
    Access.SIGNED_IN: frozenset(Role),
    Access.OPERATOR: frozenset((Role.OPERATOR, Role.ADMIN)),
    Access.ADMIN: frozenset((Role.ADMIN,)),
}
"""The roles that each route lets in with a token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks. Without a token there is no ``id``, and ``role`` is what such a request counts as, if any.

    ``session`` is what the token belongs to, and signing out ends.
    """

    id: str | None = None
    email: str | None = None
    role: Role | None = None
    session: str | None = None

    @property
    def customer(self) -> str | None:
        """The customer to whom what this caller orders belongs."""
        return self.id if self.role is Role.CUSTOMER else None

    @property
    def is_anonymous(self) -> bool:
        """Whether no token said who it is."""
        return self.id is None


NOBODY: Final = Caller()
ANONYMOUS_OPERATOR: Final = Caller(role=Role.OPERATOR)
CALLER: Final = web.RequestKey("caller", Caller)
"""Set by the guard before the handler runs."""


def caller_of(request: web.BaseRequest) -> Caller:
    """Who asks; an unknown caller where no guard has looked."""
    caller: Caller = request.get(CALLER, NOBODY)
    return caller


def actor_of(request: web.BaseRequest) -> str:
    """Who did it, for audit lines: the caller's id, else the client's address."""
    return caller_of(request).id or client_of(request)
