"""Builds the catalogue from its adapters."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Final

from catalogue.cache import RedisCache
from catalogue.freshness import MOST_PENDING, PAUSE_SECONDS, Freshness
from catalogue.prices import RedisPriceBoard
from catalogue.projection import Projection
from catalogue.reading import CachedReader, ReadFigures
from catalogue.routes import CatalogueRoutes
from catalogue.settings import CatalogueSettings
from catalogue.stock_outbox import StockOutbox
from catalogue.store import ProductStore
from shared import keyspace
from shared.http.bodies import JsonBodies
from shared.http.client import open_client
from shared.http.guard import Guard
from shared.http.keys import RemoteKeys
from shared.http.limits import Gate, HeavyWork
from shared.http.openapi import Info, described
from shared.http.routes import application
from shared.http.tokens import TokenVerifier
from shared.products.routes import TAG, product_table
from shared.redis.lease import Lease
from shared.redis.levels import StockLevels
from shared.redis.rights import rights_of
from shared.redis.watch import StoreWatch
from shared.service.api import Api, Ground, Telling, api
from shared.service.carrying import Carrier, publishing
from shared.service.program import Program
from shared.services import CACHE
from shared.sql.outbox import EVENTS

CACHE_CONNECTIONS: Final = 16
LISTS_AT_ONCE: Final = 2
INFO: Final = Info(
    title="Order pipeline: catalogue",
    description="Products and their prices. Clients meet these routes at the gateway.",
    tags={TAG: "What can be ordered, and what it costs.", "reference": "This description."},
)


@asynccontextmanager
async def answers(ground: Ground[CatalogueSettings]) -> AsyncIterator[Api]:
    """Keeps products, and carries what they cost to where orders look for it."""
    own, database, redis = ground.own, ground.database, ground.redis
    publisher = ground.infrastructure.publisher("catalogue", timeout_seconds=own.publish_timeout_seconds)
    async with (
        ground.infrastructure.cache(
            timeout_seconds=own.cache_timeout_seconds, max_connections=CACHE_CONNECTIONS
        ) as cache_redis,
        open_client("accounts", own.accounts_url) as accounts,
    ):
        cache_watch = StoreWatch(
            cache_redis, rights=rights_of("catalogue", CACHE), timeout_seconds=own.cache_timeout_seconds
        )
        cache = RedisCache(
            cache_redis,
            timeout_seconds=own.cache_timeout_seconds,
            product_seconds=own.product_cache_seconds,
            list_seconds=own.list_cache_seconds,
        )
        store = ProductStore(database)
        written = partial(store.written, MOST_PENDING, timeout_seconds=2 * PAUSE_SECONDS)
        freshness = Freshness(written, time.monotonic)
        board = RedisPriceBoard(redis, timeout_seconds=own.store_timeout_seconds)
        projection = Projection(store, board, cache)
        reader = CachedReader(
            cache,
            freshness,
            cache_reason=cache_watch.unready_reason,
            database_reason=database.unready_reason,
            figures=ReadFigures(ground.registry),
        )
        limits = replace(own.http_limits(), max_concurrent_requests=own.max_concurrent_requests)
        routes = CatalogueRoutes(
            store,
            projection,
            reader,
            freshness,
            StockLevels(redis, timeout_seconds=own.store_timeout_seconds),
            bodies=JsonBodies(limits),
            lists=HeavyWork(at_once=LISTS_AT_ONCE),
            gate=Gate(limits.max_concurrent_requests),
        )
        stock = Carrier(
            StockOutbox(redis, timeout_seconds=own.store_timeout_seconds),
            EVENTS,
            publishing(publisher, ground.common.events_per_message),
            Lease(redis, keyspace.service_lease("stock"), timeout_seconds=own.store_timeout_seconds),
            rows_per_turn=ground.common.events_per_message,
        )
        keys = RemoteKeys(accounts)
        guard = Guard(own.auth_mode, TokenVerifier(keys))
        yield Api(
            app=application(described(INFO, product_table(routes.handler), guard), guard),
            limits=limits,
            telling=Telling(store.outbox, publisher),
            jobs=(
                cache_watch.run,
                freshness.run,
                projection.prices.run,
                projection.invalidations.run,
                projection.run,
                stock.run,
                keys.run,
            ),
            checks={"redis": ground.watch.unready_reason},
            notes={"cache": cache_watch.unready_reason},
        )


PROGRAM: Final[Program[CatalogueSettings]] = api("catalogue", CatalogueSettings, answers)
