"""Builds the ledger from its adapters."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from ledger.follower import Follower, FollowerFigures
from ledger.settings import LedgerSettings
from ledger.store import LedgerStore
from shared import keyspace
from shared.http.openapi import Info, described
from shared.http.routes import application
from shared.orders.redis.log import OrderLog
from shared.redis.lease import Lease
from shared.service.api import Api, Ground, api
from shared.service.program import Program

INFO: Final = Info(
    title="Order pipeline: ledger",
    description="Every order and every step of it, for years. Its operations port says how far behind it is.",
    tags={"reference": "This description."},
)


@asynccontextmanager
async def answers(ground: Ground[LedgerSettings]) -> AsyncIterator[Api]:
    """Follows the log of steps into the database."""
    own, redis = ground.own, ground.redis
    follower = Follower(
        LedgerStore(ground.database),
        OrderLog(redis, timeout_seconds=own.store_timeout_seconds),
        redis,
        Lease(redis, keyspace.service_lease("ledger"), timeout_seconds=own.store_timeout_seconds),
        FollowerFigures(ground.registry),
        timeout_seconds=own.store_timeout_seconds,
    )
    yield Api(
        app=application(described(INFO, ())),
        limits=own.http_limits(),
        jobs=(follower.run, follower.measure),
        checks={"redis": ground.watch.unready_reason},
    )


PROGRAM: Final[Program[LedgerSettings]] = api("ledger", LedgerSettings, answers)
