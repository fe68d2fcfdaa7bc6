"""The table of the routes about customers."""

from collections.abc import Callable
from typing import Any, Final

from shared.customers.problems import NAME_TAKEN
from shared.customers.schemas import (
    CredentialsBody,
    CredentialsForm,
    KeySetView,
    OwnChangeBody,
    RefreshBody,
    RegistrationBody,
    RoleBody,
    TokenView,
    UserList,
    UserStatistics,
    UserView,
)
from shared.http.auth import Access
from shared.http.listing import PAGE
from shared.http.problems import (
    DATABASE_UNAVAILABLE,
    INVALID_PARAMETER,
    MALFORMED_FORM,
    NOT_FOUND,
    TOO_MANY_ATTEMPTS,
    TOO_MANY_REQUESTS,
    UNAUTHORIZED,
)
from shared.http.rates import REGISTERING, SIGNING_IN
from shared.http.routes import Handler, Parameter, Route
from shared.messages import IDENTIFIER_PATTERN

TAGS: Final = {
    "customers": "Accounts: registering, and what their owners and admins may do with them.",
    "tokens": "Signing in and out.",
}
_REGISTRATION: Final = {"username": "ann", "email": "ann@example.com", "password": "a long walk at noon"}
_SIGN_IN: Final = {"username": "ann", "password": "a long walk at noon"}
_USERNAME: Final = Parameter(
    name="username",
    description="Only the user of this name.",
    schema={"type": "string", "pattern": IDENTIFIER_PATTERN},
)
_USER_ID: Final = Parameter(
    name="id",
    place="path",
    description="The id of the user.",
    schema={
        "type": "string",
        "pattern": IDENTIFIER_PATTERN,
        "examples": ["019ac9f2-7b1e-7c46-9d0a-5f3b8e21c7d4"],
    },
)


def customer_table(handlers: Callable[[str], Handler]) -> tuple[Route, ...]:
    """The routes, each with the handler of its name."""

    def route(name: str, tag: str, access: Access, **further: Any) -> Route:
        problems = (*further.pop("problems", ()), DATABASE_UNAVAILABLE)
        return Route(handler=handlers(name), name=name, tag=tag, access=access, problems=problems, **further)

    return (
        route(
            "registerUser",
            "customers",
            Access.PUBLIC,
            rate=REGISTERING,
            method="POST",
            path="/users",
            summary="Register",
            description="Registers a customer, who then signs in with `POST /tokens`.",
            status=201,
            meaning="The account exists.",
            answer=UserView,
            bodies=(RegistrationBody,),
            body_examples={"a customer": _REGISTRATION},
            problems=(NAME_TAKEN,),
            headers={201: ("Location",)},
        ),
        route(
            "listUsers",
            "customers",
            Access.ADMIN,
            path="/users",
            summary="List users, newest first",
            description="Follow `next_cursor` until it is null.",
            meaning="A page of users.",
            answer=UserList,
            parameters=(_USERNAME, *PAGE),
            problems=(INVALID_PARAMETER,),
        ),
        route(
            "getUserStatistics",
            "customers",
            Access.OPERATOR,
            path="/users/stats",
            summary="How many users there are",
            description="Takes a token, always.",
            meaning="The numbers.",
            answer=UserStatistics,
        ),
        route(
            "getOwnUser",
            "customers",
            Access.SIGNED_IN,
            path="/users/me",
            summary="Show the own account",
            meaning="The account.",
            answer=UserView,
            problems=(NOT_FOUND,),
        ),
        route(
            "changeOwnUser",
            "customers",
            Access.SIGNED_IN,
            method="PATCH",
            path="/users/me",
            summary="Change the own address or password",
            description="A new password signs out everywhere else.",
            meaning="The account as it is now.",
            answer=UserView,
            bodies=(OwnChangeBody,),
            body_examples={"another address": {"email": "ann@example.org"}},
            problems=(NOT_FOUND, NAME_TAKEN, TOO_MANY_ATTEMPTS, TOO_MANY_REQUESTS),
        ),
        route(
            "removeOwnUser",
            "customers",
            Access.SIGNED_IN,
            method="DELETE",
            path="/users/me",
            summary="Remove the own account",
            description="Erases what names the person. Orders stay, without the address once they are final.",
            status=204,
            meaning="There is no such account any more.",
            answer=None,
            problems=(NOT_FOUND,),
        ),
        route(
            "getUser",
            "customers",
            Access.ADMIN,
            path="/users/{id}",
            parameters=(_USER_ID,),
            summary="Show a user",
            meaning="The user.",
            answer=UserView,
            problems=(NOT_FOUND,),
        ),
        route(
            "changeUser",
            "customers",
            Access.ADMIN,
            method="PATCH",
            path="/users/{id}",
            parameters=(_USER_ID,),
            summary="Give a user another role",
            meaning="The user as it is now.",
            answer=UserView,
            bodies=(RoleBody,),
            body_examples={"an operator": {"role": "operator"}},
            problems=(NOT_FOUND,),
        ),
        route(
            "removeUser",
            "customers",
            Access.ADMIN,
            method="DELETE",
            path="/users/{id}",
            parameters=(_USER_ID,),
            summary="Remove a user",
            description="As its owner would.",
            status=204,
            meaning="There is no such user any more.",
            answer=None,
            problems=(NOT_FOUND,),
        ),
        route(
            "signIn",
            "tokens",
            Access.PUBLIC,
            method="POST",
            path="/tokens",
            rate=SIGNING_IN,
            summary="Sign in",
            description="The answer and its time are the same for a name that nobody has and a wrong "
            "password. Failures are slowed by name and by address.",
            meaning="Tokens.",
            answer=TokenView,
            bodies=(CredentialsBody,),
            form=CredentialsForm,
            body_examples={"a customer": _SIGN_IN},
            problems=(MALFORMED_FORM, UNAUTHORIZED, TOO_MANY_ATTEMPTS),
        ),
        route(
            "renewTokens",
            "tokens",
            Access.PUBLIC,
            method="POST",
            path="/tokens/refresh",
            summary="Get the next tokens",
            description="A refresh token holds once; asked again within ten seconds, for an answer that was "
            "lost, it gets the same one again. Used later, it signs out the session that it belongs to.",
            meaning="Tokens.",
            answer=TokenView,
            bodies=(RefreshBody,),
            problems=(UNAUTHORIZED,),
        ),
        route(
            "signOut",
            "tokens",
            Access.SIGNED_IN,
            method="DELETE",
            path="/tokens",
            summary="Sign out",
            description="Ends the session of the access token, which itself holds until it expires.",
            status=204,
            meaning="The session has ended.",
            answer=None,
        ),
        route(
            "getKeys",
            "tokens",
            Access.PUBLIC,
            path="/.well-known/jwks.json",
            summary="The keys that verify access tokens",
            meaning="The keys.",
            answer=KeySetView,
        ),
    )
