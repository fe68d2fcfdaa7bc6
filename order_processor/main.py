"""Builds the processor from its adapters and runs it until it is told to stop."""

import asyncio
import random

from prometheus_client import CollectorRegistry

from order_processor.handlers import OrderPlacedHandler
from order_processor.settings import ProcessorSettings
from order_processor.store import RedisDecisionStore
from order_processor.sweep import Sweep
from shared import keyspace
from shared.messages import OrderPlaced
from shared.pipeline import ORDER_PROCESSOR
from shared.redis.client import Redis
from shared.redis.lease import Lease
from shared.service.infrastructure import Infrastructure
from shared.service.worker import UseCases, run_worker
from shared.settings import CommonSettings


async def run(
    common: CommonSettings, own: ProcessorSettings, infrastructure: Infrastructure, stop: asyncio.Event
) -> None:
    """Decides orders until ``stop`` is set, then finishes what has arrived."""

    def build(redis: Redis, _: random.Random, __: CollectorRegistry) -> UseCases:
        store = RedisDecisionStore(
            redis,
            timeout_seconds=own.store_timeout_seconds,
            oldest_recreated_seconds=common.order_retention_seconds / 2,
        )
        sweep = Sweep(
            redis,
            timeout_seconds=own.store_timeout_seconds,
            retention_seconds=common.order_retention_seconds,
            lease=Lease(redis, keyspace.SWEEP_LEASE, timeout_seconds=own.store_timeout_seconds),
        )
        return UseCases(handlers={OrderPlaced: OrderPlacedHandler(store)}, failures=store, jobs=(sweep.run,))

    await run_worker(ORDER_PROCESSOR, own, infrastructure, build, stop)
