"""A service that answers HTTP from a database of its own: the same life for every one of them.

The operations port opens first and closes last; database, store and brokers are supervised beside the port
for clients. What happens is told by an outbox in the database, where the service has one, which one replica
at a time empties; brokers are for that alone.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Generic, TypeVar

from aiohttp import web
from prometheus_client import CollectorRegistry
from pydantic_settings import BaseSettings

from shared import keyspace
from shared.health import Check, Health
from shared.http.auth import AuthMode
from shared.http.limits import HttpLimits
from shared.http.metrics import HttpMetrics
from shared.http.server import serve
from shared.http.settings import AuthSettings, ClientPortSettings, Networks, OperationsSettings
from shared.logs import get_logger
from shared.metrics import new_registry
from shared.redis.client import Redis
from shared.redis.lease import Lease
from shared.redis.rights import rights_of
from shared.redis.watch import StoreWatch
from shared.service.carrying import Carrier, publishing
from shared.service.infrastructure import Infrastructure, SupervisedPublisher
from shared.service.lifecycle import drained, running
from shared.service.operations import serve_operations
from shared.service.program import Program
from shared.settings import CommonSettings, Seconds, settings_config
from shared.sql.database import Database
from shared.sql.outbox import EVENTS, SqlOutbox

STORE_CONNECTIONS: Final = 16

log = get_logger(__name__)


class ApiSettings(ClientPortSettings, OperationsSettings):
    """What every such service can be told; subclasses give the prefix and the default ports.

    Proxies of this machine are trusted, since the gateway is the one door of clients.
    """

    trusted_proxies: Networks = ("127.0.0.0/8", "::1")
    database_timeout_seconds: Seconds = 1.0
    store_timeout_seconds: Seconds = 1.0
    drain_seconds: Seconds = 20.0


class TellingSettings(BaseSettings):
    """The same of a service that tells of what happens."""

    publish_timeout_seconds: Seconds = 2.0


class GatewayDoor(BaseSettings):
    """What the gateway asks of its clients."""

    model_config = settings_config("GATEWAY_")

    auth: AuthMode | None = None


class GuardedApiSettings(ApiSettings, AuthSettings):
    """The same for a service whose own port knows who asks."""

    @property
    def auth_mode(self) -> AuthMode:
        """As at the gateway, unless it is told otherwise: who needs a token there could go around it here."""
        return self.auth or GatewayDoor().auth or AuthMode.OPTIONAL


Own = TypeVar("Own", bound=ApiSettings)


@dataclass(frozen=True, slots=True)
class Telling:
    """Where what is to be told waits, and who publishes it."""

    outbox: SqlOutbox
    publisher: SupervisedPublisher


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """What a service answers, what it tells of that (None: nothing), and what it does beside it.

    What is ``drained`` ends by itself after the event that it is given; then the jobs are cancelled.
    Readiness depends on ``checks``, with the database and the port; ``notes`` are shown without that.
    """

    app: web.Application
    limits: HttpLimits
    telling: Telling | None = None
    drained: Sequence[Callable[[asyncio.Event], Coroutine[Any, Any, None]]] = ()
    jobs: Sequence[Callable[[], Coroutine[Any, Any, None]]] = ()
    checks: Mapping[str, Check] = field(default_factory=dict)
    notes: Mapping[str, Check] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground(Generic[Own]):
    """What an API is built on: its settings, and what is open for as long as it answers."""

    common: CommonSettings
    own: Own
    infrastructure: Infrastructure
    registry: CollectorRegistry
    database: Database
    redis: Redis
    watch: StoreWatch


def api(
    name: str, settings: type[Own], build: Callable[[Ground[Own]], AbstractAsyncContextManager[Api]]
) -> Program[Own]:
    """The program of such a service. What ``build`` opens besides is closed after the port."""

    async def run(
        common: CommonSettings, own: Own, infrastructure: Infrastructure, stop: asyncio.Event
    ) -> None:
        await _answer(name, common, own, infrastructure, build, stop)

    return Program(name=name, settings=settings, run=run)


async def _answer(
    name: str,
    common: CommonSettings,
    own: Own,
    infrastructure: Infrastructure,
    build: Callable[[Ground[Own]], AbstractAsyncContextManager[Api]],
    stop: asyncio.Event,
) -> None:
    """Answers until ``stop`` is set, then finishes the requests that were begun."""
    health, registry = Health(), new_registry()
    async with (
        serve_operations(health, registry, own),
        infrastructure.database(name, timeout_seconds=own.database_timeout_seconds) as database,
        infrastructure.store(
            timeout_seconds=own.store_timeout_seconds, max_connections=STORE_CONNECTIONS
        ) as redis,
    ):
        watch = StoreWatch(redis, rights=rights_of(name), timeout_seconds=own.store_timeout_seconds)
        ground = Ground(
            common=common,
            own=own,
            infrastructure=infrastructure,
            registry=registry,
            database=database,
            redis=redis,
            watch=watch,
        )
        async with build(ground) as built:
            listening, notes, supervised = asyncio.Event(), dict(built.notes), [database.run(), watch.run()]
            if (telling := built.telling) is not None:
                lease = Lease(redis, keyspace.service_lease(name), timeout_seconds=own.store_timeout_seconds)
                events = Carrier(telling.outbox, EVENTS, publishing(telling.publisher), lease)
                notes["rabbitmq"] = telling.publisher.unready_reason
                supervised += [telling.publisher.run(), events.run()]
            checks = {"postgres": database.unready_reason, **built.checks}
            checks["listener"] = lambda: None if listening.is_set() else "not open yet"
            for what, check in checks.items():
                health.add(what, check)
            for what, note in notes.items():
                health.add_note(what, partial(_noted, note))
            health.drain_on(stop)
            endpoint = own.endpoint(built.limits, drain_seconds=own.drain_seconds)
            async with (
                running(*supervised, *(job() for job in built.jobs)),
                serve(built.app, endpoint, HttpMetrics(registry)) as port,
            ):
                listening.set()
                log.info("answering", host=own.host, port=port)
                async with asyncio.TaskGroup() as works:
                    for work in built.drained:
                        works.create_task(drained(work(stop), stop, own.drain_seconds))
                    await stop.wait()


def _noted(check: Check) -> str:
    return check() or "ok"
