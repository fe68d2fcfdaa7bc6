"""Builds accounts from its adapters."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from typing import Final

from aiohttp import web

from accounts.erasing import Erasing
from accounts.keys import SigningKeys
from accounts.operator_routes import OperatorRoutes
from accounts.passwords import Passwords
from accounts.routes import CustomerRoutes
from accounts.sessions import SessionStore
from accounts.settings import AccountsSettings
from accounts.signing_in import SigningIn
from accounts.store import UserStore
from shared.customers.routes import TAGS, customer_table
from shared.customers.schemas import KeySetView
from shared.errors import DatabaseUnavailable
from shared.http.auth import AuthMode
from shared.http.bodies import JsonBodies
from shared.http.guard import Guard
from shared.http.openapi import Info, described
from shared.http.routes import application
from shared.http.tokens import TokenVerifier
from shared.orders.redis.erasure import RedisOrderErasure
from shared.service.api import Api, Ground, Telling, api
from shared.service.program import Program

SWEEP_SECONDS: Final = 600.0
INFO: Final = Info(
    title="Order pipeline: accounts",
    description="""\
Knows the customers and signs them in. Clients reach it through the gateway; its own port has the routes of
the operator besides.

Every answer carries `X-Correlation-ID`, every error is `application/problem+json`.
""",
    tags={**TAGS, "operator": "For the operator of this system.", "reference": "This description."},
)


@asynccontextmanager
async def answers(ground: Ground[AccountsSettings]) -> AsyncIterator[Api]:
    """Knows customers, signs them in, and erases what is kept of those who are gone."""
    own, database = ground.own, ground.database
    publisher = ground.infrastructure.publisher("accounts", timeout_seconds=own.publish_timeout_seconds)
    users = UserStore(database, _now)
    erasing = Erasing(
        users,
        RedisOrderErasure(
            ground.redis,
            timeout_seconds=own.store_timeout_seconds,
            retention_seconds=ground.common.order_retention_seconds,
        ),
        token_seconds=own.access_token_seconds,
        clock=_now,
    )
    keys = SigningKeys(database, token_seconds=own.access_token_seconds, clock=_now)
    sessions = SessionStore(database, lifetime_seconds=own.session_seconds, clock=_now)
    with closing(Passwords()) as passwords:
        yield Api(
            app=build_app(own, users, keys, sessions, passwords),
            limits=own.http_limits(),
            telling=Telling(users.outbox, publisher),
            jobs=(keys.run, erasing.run, lambda: _sweep(sessions)),
            checks={"signing key": keys.unready_reason},
            notes={"redis": ground.watch.unready_reason},
        )


def build_app(
    own: AccountsSettings,
    users: UserStore,
    keys: SigningKeys,
    sessions: SessionStore,
    passwords: Passwords,
) -> web.Application:
    """The application. It is to be served by ``serve``, which turns what it raises into problems."""
    bodies = JsonBodies(own.http_limits())
    signing_in = SigningIn(users, sessions, passwords, keys, token_seconds=own.access_token_seconds)
    customers = CustomerRoutes(
        users,
        passwords,
        signing_in,
        public_keys=lambda: KeySetView(keys=keys.public()),
        bodies=bodies,
        clock=_now,
    )
    operator = OperatorRoutes(
        own.operator_secret, signing_in, keys, bodies=bodies, token_seconds=own.access_token_seconds
    )
    table = (*customer_table(customers.handlers.__getitem__), *operator.table())
    guard = Guard(AuthMode.REQUIRED, TokenVerifier(keys), confirms=users.confirms)
    return application(described(INFO, table, guard), guard)


async def _sweep(sessions: SessionStore) -> None:
    """Forgets expired sessions now and then."""
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        with contextlib.suppress(DatabaseUnavailable):  # readiness says so, and there is no hurry
            await sessions.sweep()


def _now() -> datetime:
    return datetime.now(UTC)


PROGRAM: Final[Program[AccountsSettings]] = api("accounts", AccountsSettings, answers)
