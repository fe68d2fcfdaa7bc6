"""A service that consumes one queue: the same life for every one of them.

The operations port opens first and closes last; store and broker are supervised beside the router; on a
stop the router finishes what has arrived, within the drain deadline.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from prometheus_client import CollectorRegistry
from pydantic import Field
from pydantic_settings import BaseSettings

from shared.health import Check, Health
from shared.messages import EventData
from shared.messaging.router import BatchHandler, Consuming, Router
from shared.messaging.settlement import FailureListener
from shared.metrics import PrometheusRouterMetrics, new_registry
from shared.pipeline import Consumption
from shared.redis.client import Redis
from shared.redis.watch import StoreWatch
from shared.service.infrastructure import Infrastructure
from shared.service.lifecycle import drained, running
from shared.service.operations import serve_operations
from shared.settings import Count, Port, Seconds

STORE_CONNECTIONS = 40


class WorkerSettings(BaseSettings):
    """What every consuming service can be told; subclasses give the prefix and the default port."""

    ops_host: str = "127.0.0.1"
    ops_port: Port
    prefetch: Annotated[int, Field(ge=1, le=65_535)] = 200
    batch_limit: Count = 100
    publish_timeout_seconds: Seconds = 2.0
    store_timeout_seconds: Seconds = 1.0
    drain_seconds: Seconds = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UseCases:
    """What a worker does with its messages, who learns of those that fail, its jobs beside that, and what
    its readiness depends on because of them.
    """

    handlers: Mapping[type[EventData], BatchHandler]
    failures: FailureListener
    jobs: Sequence[Callable[[], Coroutine[Any, Any, None]]] = ()
    checks: Mapping[str, Check] = field(default_factory=dict)


BuildUseCases = Callable[[Redis, random.Random, CollectorRegistry], UseCases]


async def run_worker(
    consumption: Consumption,
    own: WorkerSettings,
    infrastructure: Infrastructure,
    build: BuildUseCases,
    stop: asyncio.Event,
) -> None:
    """Consumes until ``stop`` is set, then finishes what has arrived."""
    random_ = random.Random()
    health, registry = Health(), new_registry()
    publisher = infrastructure.publisher(consumption.service, timeout_seconds=own.publish_timeout_seconds)
    subscriber = infrastructure.subscriber(consumption.service)
    async with (
        serve_operations(health, registry, own.ops_host, own.ops_port),
        infrastructure.store(
            timeout_seconds=own.store_timeout_seconds, max_connections=STORE_CONNECTIONS
        ) as redis,
    ):
        use_cases = build(redis, random_, registry)
        watch = StoreWatch(redis, timeout_seconds=own.store_timeout_seconds)
        router = Router(
            Consuming(
                consumption=consumption,
                handlers=use_cases.handlers,
                prefetch=own.prefetch,
                batch_limit=own.batch_limit,
            ),
            publisher=publisher,
            subscriber=subscriber,
            failures=use_cases.failures,
            metrics=PrometheusRouterMetrics(registry, consumption.queue),
            random_=random_,
        )
        health.add("redis", watch.unready_reason)
        health.add("rabbitmq", publisher.unready_reason)
        health.add("consumer", router.unready_reason)
        for name, check in use_cases.checks.items():
            health.add(name, check)
        health.drain_on(stop)
        jobs = [job() for job in use_cases.jobs]
        async with running(watch.run(), publisher.run(), subscriber.run(), *jobs):
            await drained(router.run(stop), stop, own.drain_seconds)
