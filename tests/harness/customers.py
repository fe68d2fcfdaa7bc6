"""The port of accounts on a real socket, over a database of the test's own."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from aiohttp import ClientSession
from argon2 import PasswordHasher
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from accounts.keys import SigningKeys
from accounts.main import build_app
from accounts.passwords import Passwords
from accounts.sessions import SessionStore
from accounts.settings import AccountsSettings
from accounts.store import UserStore
from shared.http.metrics import HttpMetrics
from shared.http.server import serve
from shared.sql.database import Database, open_database
from shared.sql.migrations import migrations_of
from tests.harness.endpoints import an_endpoint

SECRET: Final = "the operator's secret"
PASSWORD: Final = "a long walk at noon"
QUICK: Final = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""Hashes of the same kind that cost nothing."""
DEADLINE_SECONDS: Final = 30.0

Reply = tuple[int, Any]


@dataclass(slots=True)
class Clock:
    """A clock that goes on when it is told to."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.now

    def goes_on(self, seconds: float) -> None:
        """So much later."""
        self.now += timedelta(seconds=seconds)


@dataclass(slots=True)
class Accounts:
    """A client of accounts, and what is behind it."""

    session: ClientSession
    database: Database
    users: UserStore
    keys: SigningKeys
    clock: Clock

    async def ask(
        self, method: str, path: str, body: Any = None, token: str | None = None, **further: Any
    ) -> Reply:
        """Status and JSON of one answer."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        sent = {} if body is None else {"json": body}
        async with self.session.request(method, path, headers=headers, **sent, **further) as answer:
            return answer.status, await answer.json(content_type=None) if answer.content_length else None

    async def register(self, username: str, **other: str) -> Mapping[str, Any]:
        """A customer."""
        body = {"username": username, "email": f"{username}@example.com", "password": PASSWORD, **other}
        status, user = await self.ask("POST", "/users", body)
        assert status == 201, user
        found: Mapping[str, Any] = user
        return found

    async def sign_in(self, username: str, password: str = PASSWORD) -> Mapping[str, Any]:
        """Its tokens."""
        status, tokens = await self.ask("POST", "/tokens", {"username": username, "password": password})
        assert status == 200, tokens
        found: Mapping[str, Any] = tokens
        return found

    async def admin(self) -> str:
        """The operator's access token."""
        status, found = await self.ask("POST", "/operator/tokens", {"secret": SECRET})
        assert status == 200, found
        return str(found["access_token"])


@asynccontextmanager
async def accounts_at(
    url: str, secret: str | None = SECRET, *, deadline_seconds: float = DEADLINE_SECONDS
) -> AsyncIterator[Accounts]:
    """Accounts over the database at a URL, with passwords that are quick to hash."""
    own = AccountsSettings(operator_secret=None if secret is None else SecretStr(secret))
    clock = Clock()
    async with open_database(url, migrations_of("accounts"), timeout_seconds=deadline_seconds) as database:
        await database.look()
        keys = SigningKeys(database, token_seconds=own.access_token_seconds, clock=clock)
        await keys.look()
        users = UserStore(database, clock)
        sessions = SessionStore(database, lifetime_seconds=own.session_seconds, clock=clock)
        with closing(Passwords(QUICK)) as passwords:
            app = build_app(own, users, keys, sessions, passwords)
            async with (
                serve(
                    app, an_endpoint(trusted_proxies=["127.0.0.1"]), HttpMetrics(CollectorRegistry())
                ) as port,
                ClientSession(f"http://127.0.0.1:{port}") as session,
            ):
                yield Accounts(session=session, database=database, users=users, keys=keys, clock=clock)
