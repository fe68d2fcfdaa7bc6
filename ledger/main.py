"""Builds the ledger from its adapters."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

from aiohttp import web

from ledger.follower import NAME, Follower
from ledger.reading import LedgerReader
from ledger.routes import HistoryRoutes
from ledger.settings import LedgerSettings
from ledger.store import LedgerStore
from shared.history.routes import TAG, TAGS, history_table, order_reads
from shared.http.client import open_client
from shared.http.guard import Guard
from shared.http.keys import RemoteKeys
from shared.http.limits import Gate, HttpLimits
from shared.http.openapi import Info, described
from shared.http.routes import application
from shared.http.tokens import TokenVerifier
from shared.orders.following import FollowerFigures
from shared.service.api import Api, Ground, api
from shared.service.program import Program

INFO: Final = Info(
    title="Order pipeline: ledger",
    description="Every order and every step of it, for years. Its operations port says how far behind it is. "
    "Clients meet these routes at the gateway.",
    tags={TAG: "Following orders.", **TAGS, "reference": "This description."},
)


@asynccontextmanager
async def answers(ground: Ground[LedgerSettings]) -> AsyncIterator[Api]:
    """Follows the log of steps into the database, and reads it."""
    own = ground.own
    follower = Follower(
        LedgerStore(ground.database),
        ground.redis,
        FollowerFigures(NAME, ground.registry),
        timeout_seconds=own.store_timeout_seconds,
    )
    limits = replace(own.http_limits(), max_concurrent_requests=own.max_concurrent_requests)
    async with open_client("accounts", own.accounts_url) as accounts:
        keys = RemoteKeys(accounts)
        guard = Guard(own.auth_mode, TokenVerifier(keys))
        yield Api(
            app=build_app(LedgerReader(ground.database), limits, guard),
            limits=limits,
            jobs=(follower.run, follower.measure, keys.run),
            checks={"redis": ground.watch.unready_reason},
        )


def build_app(reader: LedgerReader, limits: HttpLimits, guard: Guard) -> web.Application:
    """The application. It is to be served by ``serve``, which turns what it raises into problems."""
    routes = HistoryRoutes(reader, Gate(limits.max_concurrent_requests))
    table = (*order_reads(routes.handler), *history_table(routes.handler))
    return application(described(INFO, table, guard), guard)


PROGRAM: Final[Program[LedgerSettings]] = api(NAME, LedgerSettings, answers)
