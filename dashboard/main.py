"""Builds the dashboard from its adapters and runs it until it is told to stop."""

import asyncio
import time
from typing import Final

import aiohttp

from dashboard.app import SECURITY_HEADERS, build_app
from dashboard.dead_letters.access import DeadLetterAccess
from dashboard.dead_letters.actions import Drop, Erase, Redrive
from dashboard.dead_letters.desk import DeadLetterDesk
from dashboard.dead_letters.erasing import ErasedLetters
from dashboard.dead_letters.routes import DeadLetterRoutes
from dashboard.dead_letters.store import RedisTurns
from dashboard.overview.attention import node_faults, queue_faults
from dashboard.overview.services import ServiceWatch
from dashboard.overview.store import RedisStoreReader
from dashboard.overview.watch import BrokerWatch
from dashboard.settings import DashboardSettings
from shared import keyspace
from shared.health import Health
from shared.http.client import open_client
from shared.http.keys import RemoteKeys
from shared.http.metrics import HttpMetrics
from shared.http.server import serve
from shared.http.tokens import TokenVerifier
from shared.metrics import new_registry
from shared.orders.redis.dead_letters import RedisOrderBooks
from shared.orders.redis.erasure import RedisErasedOrders
from shared.redis.lease import Lease
from shared.redis.rights import rights_of
from shared.redis.stock import StockReader
from shared.redis.watch import StoreWatch
from shared.service.infrastructure import Infrastructure
from shared.service.lifecycle import running
from shared.service.program import Program
from shared.services import CACHE
from shared.settings import CommonSettings

NAME = "dashboard"
STORE_CONNECTIONS = 16


async def run(
    common: CommonSettings,
    own: DashboardSettings,
    infrastructure: Infrastructure,
    stop: asyncio.Event,
) -> None:
    """Shows the state of the pipeline until ``stop`` is set.

    Without brokers it still shows what the store knows, so its readiness depends on the store alone.
    """
    health, registry = Health(), new_registry()
    publisher = infrastructure.publisher(NAME, timeout_seconds=own.publish_timeout_seconds)
    box = infrastructure.dead_letters(NAME)
    async with (
        infrastructure.store(
            timeout_seconds=own.store_timeout_seconds, max_connections=STORE_CONNECTIONS
        ) as redis,
        infrastructure.cache(timeout_seconds=own.store_timeout_seconds, max_connections=1) as cache,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        open_client("accounts", own.accounts_url) as accounts,
    ):
        keys = RemoteKeys(accounts)
        brokers = BrokerWatch(
            infrastructure.management(timeout_seconds=own.broker_timeout_seconds),
            pause_seconds=own.broker_poll_seconds,
        )
        cache_watch = StoreWatch(
            cache, rights=rights_of(NAME, CACHE), timeout_seconds=own.store_timeout_seconds
        )
        services = ServiceWatch(
            session,
            own.service_urls,
            own=(NAME, health),
            cache_fault=cache_watch.unready_reason,
            timeout_seconds=own.service_timeout_seconds,
            pause_seconds=own.broker_poll_seconds,
        )
        store_watch = StoreWatch(redis, rights=rights_of(NAME), timeout_seconds=own.store_timeout_seconds)
        lease = Lease(redis, keyspace.DEAD_LETTERS_LEASE, timeout_seconds=own.store_timeout_seconds)
        desk = DeadLetterDesk(box=box, publisher=publisher, turns=RedisTurns(lease), clock=time.time)
        books = RedisOrderBooks(redis, timeout_seconds=own.store_timeout_seconds)
        erased = RedisErasedOrders(redis, timeout_seconds=own.store_timeout_seconds)
        health.add("redis", store_watch.unready_reason)
        health.add("brokers", brokers.unready_reason)
        health.add_note("cache", lambda: cache_watch.unready_reason() or "answers")
        health.add_note("rabbitmq", lambda: publisher.unready_reason() or "connected")
        health.add_note("dead letters", lambda: box.unready_reason() or "within reach")
        health.add_note("nodes", lambda: _summary(node_faults(brokers.state())))
        health.add_note("queues", lambda: _summary(queue_faults(brokers.state())))
        health.drain_on(stop)
        app = build_app(
            store=RedisStoreReader(
                redis,
                StockReader(redis, timeout_seconds=own.store_timeout_seconds),
                timeout_seconds=own.store_timeout_seconds,
            ),
            brokers=brokers,
            services=services,
            health=health,
            registry=registry,
            refresh_seconds=own.refresh_seconds,
            notice=own.notice,
            dead_letters=DeadLetterRoutes(
                desk,
                redrive=Redrive(publisher=publisher, books=books, clock=time.time),
                drop=Drop(publisher=publisher, books=books),
                access=DeadLetterAccess(bound_to=own.host, token=own.token, verifier=TokenVerifier(keys)),
            ),
        )
        async with (
            serve(app, own.endpoint(own.http_limits(), headers=SECURITY_HEADERS), HttpMetrics(registry)),
            running(
                store_watch.run(),
                cache_watch.run(),
                brokers.run(),
                services.run(),
                publisher.run(),
                box.run(),
                keys.run(),
                ErasedLetters(desk, erased, Erase(books)).run(),
            ),
        ):
            await stop.wait()


def _summary(faults: list[str]) -> str:
    return "; ".join(faults) or "ok"


PROGRAM: Final = Program(name=NAME, settings=DashboardSettings, run=run)
