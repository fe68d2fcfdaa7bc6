"""Builds accounts from its adapters and runs it until it is told to stop."""

import asyncio
import contextlib
from contextlib import closing
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
from shared import keyspace
from shared.customers.routes import TAGS, customer_table
from shared.customers.schemas import KeySetView
from shared.errors import DatabaseUnavailable
from shared.health import Health
from shared.http.auth import AuthMode
from shared.http.bodies import JsonBodies
from shared.http.guard import Guard
from shared.http.metrics import HttpMetrics
from shared.http.openapi import Info, described
from shared.http.routes import application
from shared.http.server import serve
from shared.http.tokens import TokenVerifier
from shared.logs import get_logger
from shared.metrics import new_registry
from shared.orders.redis.erasure import RedisOrderErasure
from shared.redis.lease import Lease
from shared.redis.watch import StoreWatch
from shared.service.carrying import Carrier, publishing
from shared.service.infrastructure import Infrastructure
from shared.service.lifecycle import running
from shared.service.operations import serve_operations
from shared.service.program import Program
from shared.settings import CommonSettings
from shared.sql.outbox import EVENTS

NAME: Final = "accounts"
STORE_CONNECTIONS: Final = 4
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

log = get_logger(__name__)


async def run(
    common: CommonSettings, own: AccountsSettings, infrastructure: Infrastructure, stop: asyncio.Event
) -> None:
    """Answers until ``stop`` is set, then finishes the requests that were begun."""
    health, registry = Health(), new_registry()
    publisher = infrastructure.publisher(NAME, timeout_seconds=own.publish_timeout_seconds)
    async with (
        serve_operations(health, registry, own),
        infrastructure.database(NAME, timeout_seconds=own.database_timeout_seconds) as database,
        infrastructure.store(
            timeout_seconds=own.store_timeout_seconds, max_connections=STORE_CONNECTIONS
        ) as redis,
    ):
        watch = StoreWatch(redis, timeout_seconds=own.store_timeout_seconds)
        users = UserStore(database, _now)
        lease = Lease(redis, keyspace.ACCOUNTS_LEASE, timeout_seconds=own.store_timeout_seconds)
        events = Carrier(users.outbox, EVENTS, publishing(publisher), lease)
        erasing = Erasing(
            users,
            RedisOrderErasure(redis, timeout_seconds=own.store_timeout_seconds),
            token_seconds=own.access_token_seconds,
            clock=_now,
        )
        keys = SigningKeys(database, token_seconds=own.access_token_seconds, clock=_now)
        sessions = SessionStore(database, lifetime_seconds=own.session_seconds, clock=_now)
        health.add("postgres", database.unready_reason)
        health.add("signing key", keys.unready_reason)
        health.add_note("redis", lambda: watch.unready_reason() or "ok")
        health.add_note("rabbitmq", lambda: publisher.unready_reason() or "ok")
        health.drain_on(stop)
        loops = (
            database.run(),
            watch.run(),
            publisher.run(),
            keys.run(),
            events.run(),
            erasing.run(),
            _sweep(sessions),
        )
        with closing(Passwords()) as passwords:
            app = build_app(own, users, keys, sessions, passwords)
            async with (
                running(*loops),
                serve(app, own.endpoint(own.http_limits()), HttpMetrics(registry)),
            ):
                await stop.wait()


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
    guard = Guard(AuthMode.REQUIRED, TokenVerifier(keys))
    return application(described(INFO, table, guard), guard)


async def _sweep(sessions: SessionStore) -> None:
    """Forgets expired sessions now and then."""
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        with contextlib.suppress(DatabaseUnavailable):  # readiness says so, and there is no hurry
            await sessions.sweep()


def _now() -> datetime:
    return datetime.now(UTC)


PROGRAM: Final = Program(name=NAME, settings=AccountsSettings, run=run)
