"""Builds webhooks from its adapters."""

import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

from aiohttp import web

from shared.http.bodies import JsonBodies
from shared.http.client import open_client
from shared.http.guard import Guard
from shared.http.keys import RemoteKeys
from shared.http.limits import Gate
from shared.http.openapi import Info, described
from shared.http.routes import application
from shared.http.tokens import TokenVerifier
from shared.pipeline import consumption_of
from shared.service.api import Api, Ground, api
from shared.service.program import Program
from shared.service.worker import router_of
from shared.webhooks.routes import TAGS, webhook_table
from webhooks.addresses import guarded_sockets, is_public
from webhooks.clock import DatabaseClock
from webhooks.deliveries import DeliveryStore
from webhooks.endpoints import EndpointStore
from webhooks.figures import WebhookFigures
from webhooks.handlers import TOLD, WebhookHandler
from webhooks.housekeeping import Housekeeping
from webhooks.log import DeliveryLog
from webhooks.outcomes import OutcomeStore
from webhooks.owners import RedisOwners
from webhooks.posting import Poster, ThreadsOfItsOwn, open_session
from webhooks.routes import WebhookRoutes
from webhooks.sender import WebhookSender
from webhooks.settings import WebhooksSettings

NAME: Final = "webhooks"
INFO: Final = Info(
    title="Order pipeline: webhooks",
    description="Tells receivers over HTTP what happens to orders. Clients meet these routes at the gateway.",
    tags={**TAGS, "reference": "This description."},
)


@asynccontextmanager
async def answers(ground: Ground[WebhooksSettings]) -> AsyncIterator[Api]:
    """Keeps webhooks, promises them what happens, and keeps the promises."""
    own, database = ground.own, ground.database
    publisher = ground.infrastructure.publisher(NAME, timeout_seconds=own.publish_timeout_seconds)
    subscriber = ground.infrastructure.subscriber(NAME)
    clock = DatabaseClock(database)
    endpoints = EndpointStore(
        database, clock, most=own.endpoints_per_owner, grace_seconds=own.secret_grace_seconds
    )
    deliveries = DeliveryStore(database, clock, lease_seconds=own.lease_seconds)
    delivery_log = DeliveryLog(database, clock, retention_seconds=own.retention_seconds)
    figures = WebhookFigures(ground.registry)
    sockets = None if own.allow_private else guarded_sockets(is_public)
    limits = replace(own.http_limits(), max_concurrent_requests=own.max_concurrent_requests)
    async with (
        open_client("accounts", own.accounts_url) as accounts,
        open_session(
            ThreadsOfItsOwn(own.sends_at_once), sockets, timeout_seconds=own.attempt_timeout_seconds
        ) as session,
    ):
        sender = WebhookSender(
            deliveries,
            OutcomeStore(database, random.Random()),
            Poster(session, _now),
            figures,
            at_once=own.sends_at_once,
            per_endpoint=own.sends_per_endpoint,
        )
        owners = RedisOwners(ground.redis, timeout_seconds=own.store_timeout_seconds)
        handler = WebhookHandler(owners, deliveries, sender.wake)
        router = router_of(
            consumption_of(NAME),
            dict.fromkeys(TOLD, handler),
            ground.common,
            own,
            publisher=publisher,
            subscriber=subscriber,
            registry=ground.registry,
        )
        housekeeping = Housekeeping(endpoints, delivery_log, owners, clock, figures)
        routes = WebhookRoutes(
            endpoints,
            delivery_log,
            sender.wake,
            bodies=JsonBodies(limits),
            gate=Gate(limits.max_concurrent_requests),
            is_private_allowed=own.allow_private,
        )
        keys = RemoteKeys(accounts)
        yield Api(
            app=build_app(routes, Guard(own.auth_mode, TokenVerifier(keys))),
            limits=limits,
            jobs=(
                clock.run,
                publisher.run,
                subscriber.run,
                housekeeping.measure,
                housekeeping.sweep,
                housekeeping.follow,
                keys.run,
            ),
            drained=(router.run, sender.run),
            checks={
                "redis": ground.watch.unready_reason,
                "rabbitmq": publisher.unready_reason,
                "consumer": router.unready_reason,
            },
        )


def build_app(routes: WebhookRoutes, guard: Guard) -> web.Application:
    """The application. It is to be served by ``serve``, which turns what it raises into problems."""
    return application(described(INFO, webhook_table(routes.handler), guard), guard)


def _now() -> int:
    return time.time_ns() // 1_000


PROGRAM: Final[Program[WebhooksSettings]] = api(NAME, WebhooksSettings, answers)
