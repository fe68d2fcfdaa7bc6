"""Accounts over HTTP, as its operator: the secret of the data folder becomes a token, and the token asks."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import orjson

from orderctl.environment import operator_settings
from orderctl.errors import OrderctlError
from orderctl.exposure import AUTH
from orderctl.http import bearer, elsewhere, in_words, object_in, request, unanswered
from orderctl.modes import current_system
from orderctl.native.secrets import OPERATOR_SECRET_SETTING
from orderctl.operator_secret import operator_secret
from orderctl.system import System

URL_VARIABLE: Final = "ORDERCTL_ACCOUNTS_URL"
ANSWER_SECONDS: Final = 10.0
PATIENCE_SECONDS: Final = 2.0
"""Where the token is welcome and not needed."""
RENEWED_AFTER_SECONDS: Final = 300.0
"""A token holds for three times as long."""
REQUIRED: Final = "required"


class AccountsError(OrderctlError):
    """Raised when accounts refused a request, or did not answer."""


def accounts_of(data_dir: Path | None) -> "AccountsClient":
    """Those of `ORDERCTL_ACCOUNTS_URL`, else of this machine's own system. Raises OrderctlError."""
    if url := elsewhere(None, URL_VARIABLE):
        return AccountsClient(url, operator_settings().get(OPERATOR_SECRET_SETTING))
    system = current_system(data_dir)
    return AccountsClient(system.url("accounts"), operator_secret(system.layout))


def operator_proof(system: System, *, sees_all: bool = False) -> Callable[[], Mapping[str, str]]:
    """What gives the headers of a command's requests: the operator's token, where the gateway wants one.

    A command that ``sees_all`` has it too where one can be had: orders of customers are hidden otherwise.
    """
    is_required = operator_settings().get(AUTH) == REQUIRED
    if not is_required and not sees_all:
        return dict
    try:
        url = system.url("accounts")
    except OrderctlError:
        if is_required:
            raise
        return dict
    seconds = ANSWER_SECONDS if is_required else PATIENCE_SECONDS
    client = AccountsClient(url, operator_secret(system.layout), seconds=seconds)
    got_at, is_away = time.monotonic(), False

    def proof() -> Mapping[str, str]:
        nonlocal client, got_at, is_away
        if time.monotonic() - got_at > RENEWED_AFTER_SECONDS:
            client, got_at = client.renewed(), time.monotonic()
        try:
            return {} if is_away else bearer(client.token())
        except AccountsError:
            if is_required:
                raise
            is_away = True
            return {}

    return proof


class AccountsClient:
    """Asks one service. Every method raises AccountsError."""

    def __init__(self, url: str, secret: str | None, *, seconds: float = ANSWER_SECONDS) -> None:
        self._url = url
        self._seconds = seconds
        self._secret = secret
        self._token: str | None = None

    def token(self) -> str:
        """An access token with every right, for as long as commands take."""
        if self._token is None:
            if self._secret is None:
                raise AccountsError(
                    "there is no secret of its operator",
                    advice="orderctl up makes one; without it, set ACCOUNTS_OPERATOR_SECRET",
                )
            found = self._asked("POST", "/operator/tokens", {"secret": self._secret}, {})
            self._token = str(found.get("access_token"))
        return self._token

    def renewed(self) -> "AccountsClient":
        """The same, with a token yet to be asked for."""
        return AccountsClient(self._url, self._secret, seconds=self._seconds)

    def add(self, username: str, email: str, password: str, role: str) -> Mapping[str, Any]:
        """A new user. Where it stands already without its role, giving that is the next command's work."""
        user = self.ask("POST", "/users", {"username": username, "email": email, "password": password})
        return user if user.get("role") == role else self.give_role(str(user.get("id")), role)

    def find(self, username: str) -> Mapping[str, Any]:
        """The user of this name."""
        found = self.ask("GET", f"/users?{urlencode({'username': username})}").get("users") or ()
        if not found:
            raise AccountsError(f"there is no user {username}", advice="orderctl user list")
        user: Mapping[str, Any] = found[0]
        return user

    def users(self) -> Sequence[Mapping[str, Any]]:
        """All of them, newest first."""
        users: list[Mapping[str, Any]] = []
        cursor = ""
        while True:
            page = self.ask("GET", f"/users?limit=200{cursor}")
            users += page["users"]
            if page["next_cursor"] is None:
                return users
            cursor = f"&cursor={page['next_cursor']}"

    def give_role(self, user_id: str, role: str) -> Mapping[str, Any]:
        """The user with another role."""
        return self.ask("PATCH", f"/users/{quote(user_id, safe='')}", {"role": role})

    def remove(self, user_id: str) -> None:
        """Forgets the user."""
        self.ask("DELETE", f"/users/{quote(user_id, safe='')}")

    def rotate_keys(self) -> str:
        """The id of the key that signs from now on."""
        return str(self.ask("POST", "/operator/keys").get("kid"))

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """One question, as the operator."""
        return self._asked(method, path, body, bearer(self.token()))

    def _asked(
        self, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]
    ) -> Mapping[str, Any]:
        data = None if body is None else orjson.dumps(body)
        typed = {**headers, **({} if data is None else {"Content-Type": "application/json"})}
        try:
            with request(self._url, method, path, body=data, headers=typed, seconds=self._seconds) as answer:
                status, told = answer.status, object_in(answer.read())
        except OSError as error:
            raise AccountsError(unanswered(self._url, error), advice="orderctl status") from error
        if status >= 300:
            raise AccountsError(in_words(status, told))
        return told
