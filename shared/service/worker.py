"""A service that consumes one queue: the same life for every one of them.

The operations port opens first and closes last; store and broker are supervised beside the router; on a
stop the router finishes what has arrived, within the drain deadline.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Generic, TypeVar

from prometheus_client import CollectorRegistry
from pydantic import Field

from shared.health import Check, Health
from shared.http.settings import OperationsSettings
from shared.messages import EventData
from shared.messaging.handlers import BatchHandler
from shared.messaging.router import Consuming, Router
from shared.messaging.settlement import FailureListener
from shared.metrics import PrometheusRouterMetrics, new_registry
from shared.pipeline import Consumption
from shared.redis.client import Redis
from shared.redis.rights import rights_of
from shared.redis.watch import StoreWatch
from shared.service.infrastructure import Infrastructure
from shared.service.lifecycle import drained, running
from shared.service.operations import serve_operations
from shared.service.program import Program
from shared.settings import CommonSettings, Count, Seconds
from shared.sql.database import Database

STORE_CONNECTIONS: Final = 40


class WorkerSettings(OperationsSettings):
    """What every consuming service can be told; subclasses give the prefix and the default port."""

    prefetch: Annotated[int, Field(ge=1, le=65_535)] = 200
    batch_limit: Count = 100
    publish_timeout_seconds: Seconds = 2.0
    store_timeout_seconds: Seconds = 1.0
    drain_seconds: Seconds = 20.0


Own = TypeVar("Own", bound=WorkerSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class UseCases:
    """What a worker does with its messages, its jobs beside that, and what its readiness depends on because
    of them. ``failures`` learns of events that are put off or given up; the log has them in any case.
    """

    handlers: Mapping[type[EventData], BatchHandler]
    failures: FailureListener | None = None
    jobs: Sequence[Callable[[], Coroutine[Any, Any, None]]] = ()
    checks: Mapping[str, Check] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker(Generic[Own]):
    """What a consumer's use cases are built from: both kinds of settings, the store, the database where its
    row of the map says that it has one, and its figures.
    """

    common: CommonSettings
    own: Own
    redis: Redis
    database: Database | None = None
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)


def consumer(
    consumption: Consumption, settings: type[Own], use_cases: Callable[[Worker[Own]], UseCases]
) -> Program[Own]:
    """The program of a service that consumes one row of the map."""

    async def run(
        common: CommonSettings, own: Own, infrastructure: Infrastructure, stop: asyncio.Event
    ) -> None:
        registry = new_registry()

        def build(redis: Redis, database: Database | None) -> UseCases:
            worker = Worker(common=common, own=own, redis=redis, database=database, registry=registry)
            return use_cases(worker)

        await _consume(consumption, common, own, infrastructure, build, registry, stop)

    return Program(name=consumption.service, settings=settings, run=run)


@asynccontextmanager
async def _database(
    consumption: Consumption, own: WorkerSettings, infrastructure: Infrastructure
) -> AsyncIterator[Database | None]:
    if not consumption.needs_database:
        yield None
        return
    seconds = own.store_timeout_seconds
    async with infrastructure.database(consumption.service, timeout_seconds=seconds) as database:
        yield database


async def _consume(
    consumption: Consumption,
    common: CommonSettings,
    own: WorkerSettings,
    infrastructure: Infrastructure,
    build: Callable[[Redis, Database | None], UseCases],
    registry: CollectorRegistry,
    stop: asyncio.Event,
) -> None:
    """Consumes until ``stop`` is set, then finishes what has arrived."""
    health = Health()
    publisher = infrastructure.publisher(consumption.service, timeout_seconds=own.publish_timeout_seconds)
    subscriber = infrastructure.subscriber(consumption.service)
    async with (
        serve_operations(health, registry, own),
        infrastructure.store(
            timeout_seconds=own.store_timeout_seconds, max_connections=STORE_CONNECTIONS
        ) as redis,
        _database(consumption, own, infrastructure) as database,
    ):
        use_cases = build(redis, database)
        watch = StoreWatch(
            redis, rights=rights_of(consumption.service), timeout_seconds=own.store_timeout_seconds
        )
        router = Router(
            Consuming(
                consumption=consumption,
                handlers=use_cases.handlers,
                prefetch=own.prefetch,
                batch_limit=own.batch_limit,
                events_per_message=common.events_per_message,
            ),
            publisher=publisher,
            subscriber=subscriber,
            failures=use_cases.failures,
            metrics=PrometheusRouterMetrics(registry, consumption.queue),
        )
        health.add("redis", watch.unready_reason)
        if database is not None:
            health.add("postgres", database.unready_reason)
        health.add("rabbitmq", publisher.unready_reason)
        health.add("consumer", router.unready_reason)
        for name, check in use_cases.checks.items():
            health.add(name, check)
        health.drain_on(stop)
        jobs = [job() for job in use_cases.jobs] + ([] if database is None else [database.run()])
        async with running(watch.run(), publisher.run(), subscriber.run(), *jobs):
            await drained(router.run(stop), stop, own.drain_seconds)
