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
from shared.orders.following import FollowerFigures
from shared.service.api import Api, Ground, api
from shared.service.program import Program
from shared.webhooks.routes import TAGS, webhook_table
from webhooks.addresses import guarded_sockets, is_public
from webhooks.clock import DatabaseClock
from webhooks.customers import RedisCustomers
from webhooks.deliveries import DeliveryStore
from webhooks.endpoints import EndpointStore
from webhooks.figures import WebhookFigures
from webhooks.follower import NAME, WebhookFollower
from webhooks.housekeeping import Housekeeping
from webhooks.log import DeliveryLog
from webhooks.outcomes import OutcomeStore
from webhooks.posting import Poster, ThreadsOfItsOwn, open_session
from webhooks.routes import WebhookRoutes
from webhooks.sender import WebhookSender
from webhooks.settings import WebhooksSettings

INFO: Final = Info(
    title="Order pipeline: webhooks",
    description="Tells receivers over HTTP what happens to orders. Clients meet these routes at the gateway.",
    tags={**TAGS, "reference": "This description."},
)


@asynccontextmanager
async def answers(ground: Ground[WebhooksSettings]) -> AsyncIterator[Api]:
    """Keeps webhooks, promises them what happens, and keeps the promises."""
    own, database = ground.own, ground.database
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
        customers = RedisCustomers(ground.redis, timeout_seconds=own.store_timeout_seconds)
        follower = WebhookFollower(
            deliveries,
            customers,
            ground.redis,
            clock,
            FollowerFigures(NAME, ground.registry),
            sender.wake,
            timeout_seconds=own.store_timeout_seconds,
        )
        housekeeping = Housekeeping(endpoints, delivery_log, customers, clock, figures)
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
                follower.run,
                follower.measure,
                housekeeping.measure,
                housekeeping.sweep,
                housekeeping.follow,
                keys.run,
            ),
            drained=(sender.run,),
            checks={"redis": ground.watch.unready_reason},
        )


def build_app(routes: WebhookRoutes, guard: Guard) -> web.Application:
    """The application. It is to be served by ``serve``, which turns what it raises into problems."""
    return application(described(INFO, webhook_table(routes.handler), guard), guard)


def _now() -> int:
    return time.time_ns() // 1_000


PROGRAM: Final[Program[WebhooksSettings]] = api(NAME, WebhooksSettings, answers)
