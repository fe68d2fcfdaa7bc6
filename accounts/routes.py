"""What clients ask of accounts, and what they are answered."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from aiohttp import web

from accounts.model import NameTaken, User
from accounts.passwords import Passwords
from accounts.signing_in import SigningIn, Tokens
from accounts.store import UserStore
from accounts.weak_passwords import is_common
from shared.customers.problems import NAME_TAKEN
from shared.customers.schemas import (
    CredentialsBody,
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
from shared.http.answers import json_response
from shared.http.auth import Role, actor_of, caller_of
from shared.http.bodies import JsonBodies, is_form
from shared.http.clients import client_of
from shared.http.edge import TRACE
from shared.http.listing import LIMIT, NO_CURSOR, ListParameter, cursor_place, cursor_text, read_parameters
from shared.http.problems import FORBIDDEN, INVALID_FIELDS, NOT_FOUND, FieldError, Problem, invalid
from shared.http.rates import CHANGING_PASSWORD, RateLimiter
from shared.http.routes import Handler
from shared.http.validation import IDENTIFIER_RULE, REQUIRED, read_fields
from shared.ids import time_ordered_id
from shared.logs import get_logger
from shared.messages import is_identifier

log = get_logger(__name__)


class CustomerRoutes:
    """The handlers of the table of customers, by the names of their routes."""

    def __init__(
        self,
        users: UserStore,
        passwords: Passwords,
        signing_in: SigningIn,
        *,
        public_keys: Callable[[], KeySetView],
        bodies: JsonBodies,
        clock: Callable[[], datetime],
    ) -> None:
        self._users = users
        self._passwords = passwords
        self._signing_in = signing_in
        self._public_keys = public_keys
        self._bodies = bodies
        self._clock = clock
        self._new_passwords = RateLimiter(CHANGING_PASSWORD)

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """Each by its route."""
        return {
            "registerUser": self.register,
            "listUsers": self.list,
            "getUserStatistics": self.statistics,
            "getOwnUser": self.show_own,
            "changeOwnUser": self.change_own,
            "removeOwnUser": self.remove_own,
            "getUser": self.show,
            "changeUser": self.change,
            "removeUser": self.remove,
            "signIn": self.sign_in,
            "renewTokens": self.renew,
            "signOut": self.sign_out,
            "getKeys": self.keys,
        }

    # --- accounts ----------------------------------------------------------------------------------------

    async def register(self, request: web.Request) -> web.Response:
        """``POST /users``"""
        body = read_fields(RegistrationBody, await self._bodies.read(request))
        _check_password(body.password, body.username, body.email)
        try:
            await self._users.check_free(username=body.username, email=body.email)
            user = User(
                id=time_ordered_id(),
                username=body.username,
                email=body.email,
                role=Role.CUSTOMER,
                created_at=self._clock(),
            )
            kept = await self._passwords.hash(body.password, client_of(request))
            await self._users.add(user, kept, request[TRACE])
        except NameTaken as error:
            raise _taken(error) from error
        log.info("audit", action="user registered", user=user.id, by=actor_of(request))
        return json_response(_view(user), 201, {"Location": f"/users/{user.id}"})

    async def list(self, request: web.Request) -> web.Response:
        """``GET /users``"""
        asked = read_parameters(request, username=_USERNAME, limit=LIMIT, cursor=_CURSOR)
        found = await self._users.page(asked["limit"] + 1, asked["cursor"], asked["username"])
        page = found[: asked["limit"]]
        following = cursor_text(page[-1].id) if len(found) > len(page) else None
        return json_response(UserList(users=[_view(user) for user in page], next_cursor=following))

    async def statistics(self, _: web.Request) -> web.Response:
        """``GET /users/stats``"""
        return json_response(UserStatistics(users=await self._users.count()))

    async def show_own(self, request: web.Request) -> web.Response:
        """``GET /users/me``"""
        return await self._show(_own_id(request))

    async def show(self, request: web.Request) -> web.Response:
        """``GET /users/{id}``"""
        return await self._show(_named_id(request))

    async def change_own(self, request: web.Request) -> web.Response:
        """``PATCH /users/me``"""
        body = read_fields(OwnChangeBody, await self._bodies.read(request))
        if body.email is None and body.password is None:
            raise invalid(INVALID_FIELDS, [FieldError(field="email", message="or a password is required")])
        caller, kept = caller_of(request), None
        if body.password is not None:
            kept = await self._new_hash(request, body, body.password)
        try:
            user = await self._users.change(
                _own_id(request),
                request[TRACE],
                email=body.email,
                password_hash=kept,
                session=caller.session,
            )
        except NameTaken as error:
            raise _taken(error) from error
        if user is None:
            raise _unknown()
        log.info("audit", action="user changed", user=user.id, by=caller.id)
        return json_response(_view(user))

    async def change(self, request: web.Request) -> web.Response:
        """``PATCH /users/{id}``"""
        body = read_fields(RoleBody, await self._bodies.read(request))
        user = await self._users.change(_named_id(request), request[TRACE], role=body.role)
        if user is None:
            raise _unknown()
        log.warning("audit", action="role given", role=body.role, user=user.id, by=actor_of(request))
        return json_response(_view(user))

    async def remove_own(self, request: web.Request) -> web.Response:
        """``DELETE /users/me``"""
        return await self._remove(request, _own_id(request))

    async def remove(self, request: web.Request) -> web.Response:
        """``DELETE /users/{id}``"""
        return await self._remove(request, _named_id(request))

    # --- tokens ------------------------------------------------------------------------------------------

    async def sign_in(self, request: web.Request) -> web.Response:
        """``POST /tokens``"""
        if is_form(request):  # clients of OAuth send more than these two
            sent = await self._bodies.form(request)
            value: Any = {name: sent[name] for name in CredentialsBody.model_fields if name in sent}
        else:
            value = await self._bodies.read(request)
        given = read_fields(CredentialsBody, value)
        tokens = await self._signing_in.sign_in(
            given.username, given.password, client_of(request), request[TRACE]
        )
        return _tokens(tokens)

    async def renew(self, request: web.Request) -> web.Response:
        """``POST /tokens/refresh``"""
        body = read_fields(RefreshBody, await self._bodies.read(request))
        return _tokens(await self._signing_in.renew(body.refresh_token, client_of(request)))

    async def sign_out(self, request: web.Request) -> web.Response:
        """``DELETE /tokens``"""
        await self._signing_in.sign_out(caller_of(request))
        return web.Response(status=204)

    async def keys(self, _: web.Request) -> web.Response:
        """``GET /.well-known/jwks.json``"""
        return json_response(self._public_keys())

    # --- inside ------------------------------------------------------------------------------------------

    async def _show(self, user_id: str) -> web.Response:
        user = await self._users.get(user_id)
        if user is None:
            raise _unknown()
        return json_response(_view(user))

    async def _remove(self, request: web.Request, user_id: str) -> web.Response:
        if not await self._users.remove(user_id, request[TRACE]):
            raise _unknown()
        log.warning("audit", action="user removed", user=user_id, by=actor_of(request))
        return web.Response(status=204)

    async def _new_hash(self, request: web.Request, body: OwnChangeBody, password: str) -> str:
        """What is kept of a new password, once its owner has proved to know the old one."""
        if body.current_password is None:
            raise invalid(INVALID_FIELDS, [FieldError(field="current_password", message=REQUIRED)])
        found = await self._users.credentials(_own_id(request))
        if found is None:
            raise _unknown()
        _check_password(password, found.user.username, found.user.email)
        client = client_of(request)
        self._new_passwords.take(found.user.id)
        if not await self._signing_in.knows(found, body.current_password, found.user.id, client):
            raise Problem(FORBIDDEN, "The current password is wrong.")
        return await self._passwords.hash(password, client)


def _check_password(password: str, username: str, email: str) -> None:
    if is_common(password, (username, email, email.partition("@")[0])):
        fault = FieldError(field="password", message="is among the first that guessing tries")
        raise invalid(INVALID_FIELDS, [fault])


def _own_id(request: web.Request) -> str:
    return caller_of(request).id or ""


def _named_id(request: web.Request) -> str:
    """The id in the path. Raises Problem where no user can have it."""
    user_id = request.match_info["id"]
    if not is_identifier(user_id):
        raise _unknown()
    return user_id


def _view(user: User) -> UserView:
    return UserView(**{field.name: getattr(user, field.name) for field in fields(user)})


def _tokens(tokens: Tokens) -> web.Response:
    return json_response(
        TokenView(
            access_token=tokens.access_token,
            token_type="bearer",  # noqa: S106 - the kind of token
            expires_in=int(tokens.seconds),
            refresh_token=tokens.refresh_token,
        )
    )


def _taken(error: NameTaken) -> Problem:
    return Problem(NAME_TAKEN, f"Another account has that {error.field}.", members={"field": error.field})


def _unknown() -> Problem:
    return Problem(NOT_FOUND, "There is no such user.")


def _username(value: str) -> str:
    if not is_identifier(value):
        raise ValueError(IDENTIFIER_RULE)
    return value


def _place(cursor: str) -> str:
    place = cursor_place(cursor)
    if len(place) != len(time_ordered_id()) or not is_identifier(place):
        raise ValueError(NO_CURSOR)
    return place


_CURSOR = ListParameter(parse=_place)
_USERNAME = ListParameter(parse=_username)
