"""Builds the dashboard from its adapters and runs it until it is told to stop."""

import asyncio
import time
from typing import Final

import aiohttp

from dashboard.access import OperatorAccess
from dashboard.app import SECURITY_HEADERS, build_app
from dashboard.dead_letters.actions import Drop, Erase, Redrive
from dashboard.dead_letters.desk import DeadLetterDesk
from dashboard.dead_letters.erasing import ErasedLetters
from dashboard.dead_letters.pages import DeadLetterPages
from dashboard.dead_letters.routes import DeadLetterRoutes
from dashboard.dead_letters.store import RedisTurns
from dashboard.dead_letters.trail import RedisAuditTrail
from dashboard.live.feed import Feed
from dashboard.live.routes import LiveRoutes
from dashboard.orders.routes import OrderPages
from dashboard.orders.store import OrderFinder
from dashboard.overview.attention import node_faults, queue_faults
from dashboard.overview.services import ServiceWatch
from dashboard.overview.store import RedisStoreReader
from dashboard.overview.watch import BrokerWatch
from dashboard.overview.whole import Overview
from dashboard.rendering import Pages
from dashboard.settings import DashboardSettings
from dashboard.stock.routes import StockPages
from dashboard.stock.store import StockShelf
from dashboard.visiting import Visits
from shared import keyspace
from shared.health import Health
from shared.http.client import open_client
from shared.http.keys import RemoteKeys
from shared.http.limits import Gate
from shared.http.metrics import HttpMetrics
from shared.http.server import serve
from shared.http.tokens import TokenVerifier
from shared.metrics import new_registry
from shared.orders.redis.dead_letters import RedisOrderBooks
from shared.orders.redis.erasure import RedisErasedOrders
from shared.orders.redis.listing import RedisOrderReader
from shared.orders.redis.log import OrderLog
from shared.orders.redis.moves import RedisMoves
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
            letters=box,
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
        trail = RedisAuditTrail(redis, timeout_seconds=own.store_timeout_seconds)
        desk = DeadLetterDesk(
            box=box, publisher=publisher, turns=RedisTurns(lease), trail=trail, clock=time.time
        )
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
        access = OperatorAccess(bound_to=own.host, token=own.token, verifier=TokenVerifier(keys))
        stock = StockReader(redis, timeout_seconds=own.store_timeout_seconds)
        store = RedisStoreReader(redis, stock, timeout_seconds=own.store_timeout_seconds)
        overview = Overview(store, brokers, services, own.data_dir)
        pages = Pages(own.refresh_seconds, own.notice)
        shop_url = None if own.gateway_url is None else f"{own.gateway_url}/shop"
        visits = Visits(pages, access, shop_url)
        log = OrderLog(redis, timeout_seconds=own.store_timeout_seconds)
        feed = Feed(log, overview.attention)
        orders = OrderPages(
            visits,
            OrderFinder(redis, log, timeout_seconds=own.store_timeout_seconds),
            RedisOrderReader(redis, timeout_seconds=own.store_timeout_seconds),
            RedisMoves(redis, timeout_seconds=own.store_timeout_seconds),
            desk,
        )
        stock_pages = StockPages(visits, StockShelf(redis, stock, timeout_seconds=own.store_timeout_seconds))
        redrive = Redrive(publisher=publisher, books=books, clock=time.time)
        drop = Drop(publisher=publisher, books=books)
        letters = DeadLetterRoutes(desk, redrive=redrive, drop=drop, trail=trail, access=access)
        letter_pages = DeadLetterPages(visits, desk, redrive=redrive, drop=drop, trail=trail)
        app = build_app(
            overview=overview,
            health=health,
            registry=registry,
            pages=pages,
            access=access,
            gateway_url=own.gateway_url,
            further=(
                LiveRoutes(feed, access, Gate(own.max_streams)),
                orders,
                letter_pages,
                letters,
                stock_pages,
            ),
        )
        async with (
            serve(app, own.endpoint(own.http_limits(), headers=SECURITY_HEADERS), HttpMetrics(registry)),
            running(
                store_watch.run(),
                cache_watch.run(),
                brokers.run(),
                brokers.run_letters(),
                services.run(),
                publisher.run(),
                box.run(),
                keys.run(),
                feed.run_steps(),
                feed.run_verdicts(),
                overview.pace.run(),
                ErasedLetters(desk, erased, Erase(books)).run(),
            ),
        ):
            await stop.wait()
            feed.close()


def _summary(faults: list[str]) -> str:
    return "; ".join(faults) or "ok"


PROGRAM: Final = Program(name=NAME, settings=DashboardSettings, run=run)
