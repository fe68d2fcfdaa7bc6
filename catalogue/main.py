"""Builds the catalogue from its adapters and runs it until it is told to stop."""

import asyncio
import random
import time
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
from catalogue.stock import StockLevels
from catalogue.store import CACHED, ProductStore
from shared import keyspace
from shared.health import Health
from shared.http.bodies import JsonBodies
from shared.http.client import open_client
from shared.http.guard import Guard
from shared.http.keys import RemoteKeys
from shared.http.limits import Gate, HeavyWork
from shared.http.metrics import HttpMetrics
from shared.http.openapi import Info, described
from shared.http.routes import application
from shared.http.server import serve
from shared.http.tokens import TokenVerifier
from shared.logs import get_logger
from shared.metrics import new_registry
from shared.products.routes import TAG, product_table
from shared.redis.lease import Lease
from shared.redis.watch import StoreWatch
from shared.service.carrying import Carrier, publishing
from shared.service.infrastructure import Infrastructure
from shared.service.lifecycle import running
from shared.service.operations import serve_operations
from shared.service.program import Program
from shared.settings import CommonSettings
from shared.sql.outbox import EVENTS

NAME: Final = "catalogue"
CONNECTIONS: Final = 16
LISTS_AT_ONCE: Final = 2
INFO: Final = Info(
    title="Order pipeline: catalogue",
    description="Products and their prices. Clients meet these routes at the gateway.",
    tags={TAG: "What can be ordered, and what it costs.", "reference": "This description."},
)

log = get_logger(__name__)


async def run(
    common: CommonSettings, own: CatalogueSettings, infrastructure: Infrastructure, stop: asyncio.Event
) -> None:
    """Serves products until ``stop`` is set, then finishes the requests that were begun."""
    health, registry = Health(), new_registry()
    publisher = infrastructure.publisher(NAME, timeout_seconds=own.publish_timeout_seconds)
    async with (
        serve_operations(health, registry, own),
        infrastructure.database(NAME, timeout_seconds=own.database_timeout_seconds) as database,
        infrastructure.store(timeout_seconds=own.store_timeout_seconds, max_connections=CONNECTIONS) as redis,
        infrastructure.cache(
            timeout_seconds=own.cache_timeout_seconds, max_connections=CONNECTIONS
        ) as cache_redis,
        open_client("accounts", own.accounts_url) as accounts,
    ):
        watch = StoreWatch(redis, timeout_seconds=own.store_timeout_seconds)
        cache_watch = StoreWatch(cache_redis, timeout_seconds=own.cache_timeout_seconds)
        cache = RedisCache(
            cache_redis,
            timeout_seconds=own.cache_timeout_seconds,
            product_seconds=own.product_cache_seconds,
            list_seconds=own.list_cache_seconds,
        )
        store = ProductStore(database)
        pending = partial(store.outbox.subjects, CACHED, MOST_PENDING, timeout_seconds=2 * PAUSE_SECONDS)
        freshness = Freshness(pending, time.monotonic)
        board = RedisPriceBoard(redis, timeout_seconds=own.store_timeout_seconds)
        projection = Projection(store, board, cache)
        lease = Lease(redis, keyspace.CATALOGUE_LEASE, timeout_seconds=own.store_timeout_seconds)
        events = Carrier(store.outbox, EVENTS, publishing(publisher), lease)
        reader = CachedReader(
            cache,
            freshness,
            cache_reason=cache_watch.unready_reason,
            database_reason=database.unready_reason,
            figures=ReadFigures(registry),
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
        health.add("postgres", database.unready_reason)
        health.add("redis", watch.unready_reason)
        health.add_note("cache", lambda: cache_watch.unready_reason() or "ok")
        health.add_note("rabbitmq", lambda: publisher.unready_reason() or "ok")
        health.drain_on(stop)
        listening = asyncio.Event()
        health.add("listener", lambda: None if listening.is_set() else "not open yet")
        keys = RemoteKeys(accounts)
        guard = Guard(own.auth_mode, TokenVerifier(keys))
        app = application(described(INFO, product_table(routes.handler), guard), guard)
        loops = (
            database.run(),
            watch.run(),
            cache_watch.run(),
            publisher.run(),
            freshness.run(),
            projection.prices.run(),
            projection.invalidations.run(),
            projection.run(random.Random()),
            events.run(),
            keys.run(),
        )
        endpoint = own.endpoint(limits, drain_seconds=own.drain_seconds)
        async with running(*loops), serve(app, endpoint, HttpMetrics(registry)) as port:
            listening.set()
            log.info("serving products", host=own.host, port=port)
            await stop.wait()


PROGRAM: Final = Program(name=NAME, settings=CatalogueSettings, run=run)
