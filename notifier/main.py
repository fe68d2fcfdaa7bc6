"""Builds the notifier from its adapters and runs it until it is told to stop."""

import asyncio
import random

from prometheus_client import CollectorRegistry

from notifier.handlers import NotificationHandler
from notifier.senders.log import LogSender
from notifier.settings import NotifierSettings
from notifier.store import RedisNotificationStore
from shared.infrastructure import Infrastructure
from shared.messages import OrderCreated, OrderRejected
from shared.pipeline import NOTIFIER
from shared.redis.client import Redis
from shared.settings import CommonSettings
from shared.worker import UseCases, run_worker


async def run(
    common: CommonSettings, own: NotifierSettings, infrastructure: Infrastructure, stop: asyncio.Event
) -> None:
    """Notifies until ``stop`` is set, then finishes what has arrived."""
    sender = LogSender()

    def build(redis: Redis, random_: random.Random, _: CollectorRegistry) -> UseCases:
        store = RedisNotificationStore(
            redis,
            timeout_seconds=own.store_timeout_seconds,
            lease_seconds=own.lease_seconds,
            retention_seconds=common.order_retention_seconds,
        )
        handler = NotificationHandler(
            store=store, sender=sender, send_timeout_seconds=own.send_timeout_seconds, random_=random_
        )
        return UseCases(handlers={OrderCreated: handler, OrderRejected: handler}, failures=store)

    await run_worker(NOTIFIER, own, infrastructure, build, stop)
