"""Builds the gateway from its adapters and runs it until it is told to stop."""

import asyncio
import contextlib
from dataclasses import replace
from typing import Final

from api_gateway.announcing import AnnouncedMoves
from api_gateway.app import build_app, table
from api_gateway.behind import routes_behind
from api_gateway.budget import StoreBudget
from api_gateway.due import DueOrders
from api_gateway.intake import OrderIntake
from api_gateway.order_events import OrderEvents, StepFeed
from api_gateway.pages import page_table
from api_gateway.preference_routes import preference_table
from api_gateway.preferences import RedisPreferences
from api_gateway.relay import OutboxRemovals, Relay, RelayTimes
from api_gateway.settings import GatewaySettings, UnknownProductsRule
from api_gateway.stock import RedisStockStore
from shared import keyspace
from shared.breaker import Breaker
from shared.errors import StoreUnavailable
from shared.health import Health
from shared.http.client import open_client
from shared.http.guard import Guard
from shared.http.keys import RemoteKeys
from shared.http.limits import Gate
from shared.http.metrics import HttpMetrics
from shared.http.server import serve
from shared.http.tokens import TokenVerifier
from shared.logs import get_logger
from shared.messaging.batching import GatheringPublisher
from shared.messaging.waiting import waiting_out
from shared.metrics import new_registry
from shared.orders.redis.log import OrderLog
from shared.orders.redis.moves import RedisMoves
from shared.orders.redis.schedule import RedisSchedule
from shared.orders.redis.store import RedisOrderStore, RedisOutbox
from shared.redis.client import Redis, store_deadline
from shared.redis.lease import Lease
from shared.redis.levels import StockLevels
from shared.redis.rights import rights_of
from shared.redis.watch import StoreWatch
from shared.service.infrastructure import Infrastructure, SupervisedPublisher
from shared.service.lifecycle import drained, running
from shared.service.operations import serve_operations
from shared.service.program import Program
from shared.settings import CommonSettings

NAME = "api_gateway"
STORE_CONNECTIONS = 64
STARTUP_POLL_SECONDS = 0.2
RELAY_AGE_IN_PUBLISH_DEADLINES = 2

log = get_logger(__name__)


async def run(
    common: CommonSettings, own: GatewaySettings, infrastructure: Infrastructure, stop: asyncio.Event
) -> None:
    """Takes orders until ``stop`` is set, then finishes the requests that were begun."""
    health, registry = Health(), new_registry()
    publisher = infrastructure.publisher(NAME, timeout_seconds=own.publish_timeout_seconds)
    async with (
        serve_operations(health, registry, own),
        infrastructure.store(
            timeout_seconds=own.store_timeout_seconds, max_connections=STORE_CONNECTIONS
        ) as redis,
        open_client("accounts", own.accounts_url) as accounts,
        open_client("catalogue", own.catalogue_url) as catalogue,
        open_client("ledger", own.ledger_url) as ledger,
        open_client("webhooks", own.webhooks_url) as webhooks,
    ):
        watch = StoreWatch(
            redis, rights=rights_of(NAME), timeout_seconds=own.store_timeout_seconds, asks_durability=True
        )
        gathering = GatheringPublisher(
            publisher,
            timeout_seconds=own.publish_timeout_seconds,
            events_per_message=common.events_per_message,
        )
        store = RedisOrderStore(
            redis,
            timeout_seconds=own.store_timeout_seconds,
            claim_ttl_seconds=own.claim_ttl_seconds,
            outbox_limit=own.outbox_limit,
            refuses_unknown_products=own.unknown_products is UnknownProductsRule.REFUSE,
        )
        outbox = RedisOutbox(redis, timeout_seconds=own.store_timeout_seconds)
        removals = OutboxRemovals(outbox)
        breaker = Breaker(known_down=lambda: publisher.unready_reason() is not None)
        intake = OrderIntake(
            store=store,
            publisher=gathering,
            confirmed=removals,
            breaker=breaker,
            store_is_durable=watch.is_durable,
            is_volatile=infrastructure.is_volatile,
        )
        relay = Relay(
            store=store,
            outbox=outbox,
            lease=Lease(redis, keyspace.OUTBOX_LEASE, timeout_seconds=own.store_timeout_seconds),
            publisher=gathering,
            breaker=breaker,
            times=RelayTimes(minimum_age=RELAY_AGE_IN_PUBLISH_DEADLINES * own.publish_timeout_seconds),
        )
        moves = AnnouncedMoves(
            RedisMoves(redis, timeout_seconds=own.store_timeout_seconds),
            store,
            publisher,
            Lease(redis, keyspace.MOVES_LEASE, timeout_seconds=own.store_timeout_seconds),
        )
        due = DueOrders(
            RedisSchedule(redis, timeout_seconds=own.store_timeout_seconds), relay, breaker.would_try
        )
        health.add("redis", watch.unready_reason)
        health.add("rabbitmq", lambda: _broker_reason(publisher, breaker, watch))
        health.add_note("store durability", watch.verdict)
        health.drain_on(stop)
        limits = replace(own.http_limits(), max_concurrent_requests=own.max_concurrent_requests)
        stock = RedisStockStore(redis, timeout_seconds=own.store_timeout_seconds, most_skus=own.max_skus)
        budget = StoreBudget(redis, timeout_seconds=own.store_timeout_seconds)
        keys = RemoteKeys(accounts)
        feed = StepFeed(OrderLog(redis, timeout_seconds=own.store_timeout_seconds))
        own_routes = table(
            intake=intake,
            orders=store,
            moves=moves,
            ledger=ledger,
            stock=stock,
            budget=budget,
            limits=limits,
            events=OrderEvents(store, feed, Gate(own.max_streams)),
        )
        preferences = RedisPreferences(redis, timeout_seconds=own.store_timeout_seconds)
        levels = StockLevels(redis, timeout_seconds=own.store_timeout_seconds)
        behind = routes_behind(accounts, catalogue, ledger, webhooks, levels, limits)
        guard = Guard(own.auth_mode, TokenVerifier(keys), own.rate())
        app = build_app(
            (*own_routes, *preference_table(preferences, limits), *page_table(own.dashboard_url), *behind),
            guard,
        )
        listening = asyncio.Event()
        health.add("listener", lambda: None if listening.is_set() else "not open yet")
        remembering = _remember_topology(redis, own, publisher)
        loops = (
            watch.run(),
            budget.run(),
            publisher.run(),
            removals.run(),
            relay.run(),
            moves.run(),
            due.run(),
            feed.run(),
            keys.run(),
            remembering,
        )
        async with running(*loops):
            if not await _may_open(redis, own, publisher, watch, stop):
                return
            endpoint = own.endpoint(limits, drain_seconds=own.drain_seconds)
            async with serve(app, endpoint, HttpMetrics(registry)) as port:
                listening.set()
                log.info("taking orders", host=own.host, port=port)
                await stop.wait()
                feed.close()
            await drained(removals.flush(), stop, own.store_timeout_seconds)


def _broker_reason(publisher: SupervisedPublisher, breaker: Breaker, watch: StoreWatch) -> str | None:
    """A gateway without a broker can still take orders, as long as the store keeps them."""
    return None if watch.is_durable() else publisher.unready_reason() or breaker.reason()


async def _may_open(
    redis: Redis,
    own: GatewaySettings,
    publisher: SupervisedPublisher,
    watch: StoreWatch,
    stop: asyncio.Event,
) -> bool:
    """Waits for the first broker connection, or, where that is safe, for none; False if told to stop.

    It is safe once the topology is known to have been declared and the store keeps what it acknowledges:
    orders then wait in the outbox for the relay. A store that is away is no reason to wait: while it is,
    clients are told so.
    """
    said = ""
    while not stop.is_set():
        try:
            if publisher.unready_reason() is None:
                return True
            if watch.is_durable() and await _topology_is_known(redis, own):
                log.warning("no broker is up; orders will wait in the outbox")
                return True
        except StoreUnavailable as error:
            if said != str(error):
                said = str(error)
                log.warning("waiting for the store", reason=said)
        await _pause(stop)
    return False


async def _remember_topology(redis: Redis, own: GatewaySettings, publisher: SupervisedPublisher) -> None:
    """Notes in the store that the queues stand, for a gateway that starts while no broker is up."""

    async def note() -> None:
        async with store_deadline(own.store_timeout_seconds):
            await redis.set(keyspace.TOPOLOGY_DECLARED, "1")

    await publisher.wait_ready()
    await waiting_out(note)


async def _topology_is_known(redis: Redis, own: GatewaySettings) -> bool:
    async with store_deadline(own.store_timeout_seconds):
        return await redis.get(keyspace.TOPOLOGY_DECLARED) is not None


async def _pause(stop: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STARTUP_POLL_SECONDS):
            await stop.wait()


PROGRAM: Final = Program(name=NAME, settings=GatewaySettings, run=run)
