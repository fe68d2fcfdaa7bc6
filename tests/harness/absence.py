"""The parts of the shop beside its orders, and the three ways in which each of them is away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from enum import StrEnum
from typing import Any, Final

import asyncpg  # type: ignore[import-untyped]  # no types of its own
from redis.asyncio import Redis

from shared.redis.rights import OPERATOR
from shared.services import CACHE, DATABASE, SERVICES
from tests.harness.brokers import frozen, frozen_part
from tests.harness.running import Pipeline

SHOP_PARTS: Final = ("accounts", "catalogue", DATABASE, CACHE)
_SENT_AWAY: Final = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{0}'"


class Absence(StrEnum):
    """How a part is away: dead, standing still without anybody being told, or answering with errors."""

    KILLED = "killed"
    FROZEN = "frozen"
    REFUSING = "refusing"


def away(pipeline: Pipeline, part: str, how: Absence) -> AbstractAsyncContextManager[None]:
    """A part of the shop that is away for the length of the block."""
    if how is Absence.KILLED:
        return _killed(pipeline, part)
    if how is Absence.FROZEN:
        return frozen(pipeline.services.pid(part)) if part in SERVICES else frozen_part(pipeline, part)
    return _full_cache(pipeline) if part == CACHE else _refusing_database(pipeline, part)


@asynccontextmanager
async def _killed(pipeline: Pipeline, part: str) -> AsyncIterator[None]:
    own = pipeline.services if part in SERVICES else pipeline.cluster
    await asyncio.to_thread(own.kill, part)
    try:
        yield
    finally:
        if part in SERVICES:
            await pipeline.start(part)
        else:
            await asyncio.to_thread(pipeline.cluster.start_part, part)
            await asyncio.to_thread(pipeline.cluster.wait_store, part)


@asynccontextmanager
async def _full_cache(pipeline: Pipeline) -> AsyncIterator[None]:
    """It takes no writes, and so runs no script that might write."""
    async with Redis.from_url(pipeline.cluster.store_url(CACHE, OPERATOR), decode_responses=True) as client:
        redis: Any = client
        before = await redis.config_get("maxmemory", "maxmemory-policy")
        await redis.config_set("maxmemory", "1", "maxmemory-policy", "noeviction")
        try:
            yield
        finally:
            await redis.config_set(*(word for setting in before.items() for word in setting))


@asynccontextmanager
async def _refusing_database(pipeline: Pipeline, part: str) -> AsyncIterator[None]:
    """PostgreSQL takes no writes from anybody, as a standby; or it lets one service in no more."""
    if part == DATABASE:
        refuse = ["ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"]
        mend = ["ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()"]
    else:
        refuse = [f"ALTER ROLE {part} NOLOGIN", _SENT_AWAY.format(part)]
        mend = [f"ALTER ROLE {part} LOGIN"]
    operator = await asyncpg.connect(pipeline.cluster.database_url("postgres"))
    try:
        for statement in refuse:
            await operator.execute(statement)
        try:
            yield
        finally:
            for statement in mend:
                await operator.execute(statement)
    finally:
        await operator.close()
