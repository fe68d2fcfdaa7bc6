"""The one process of embedded mode: four services around one broker and one store, drained down the flow."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from fakeredis import FakeServer

import api_gateway.main
import dashboard.main
import notifier.main
import order_processor.main
from api_gateway.settings import GatewaySettings
from dashboard.settings import DashboardSettings
from notifier.settings import NotifierSettings
from order_processor.settings import ProcessorSettings
from orderctl.embedded import WARNING
from orderctl.embedded.infrastructure import EmbeddedInfrastructure
from orderctl.embedded.management import MemoryManagement
from orderctl.embedded.store import serve_store
from shared.logs import get_logger
from shared.messaging.memory import MemoryBroker
from shared.pipeline import NOTIFIER, ORDER_PROCESSOR
from shared.settings import CommonSettings

SETTLE_SECONDS: Final = 5.0
"""How long a draining process waits for each queue to be worked off: what is left is lost with it."""
POLL_SECONDS: Final = 0.02

log = get_logger(__name__)

Service = Callable[[asyncio.Event], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedSettings:
    """The settings of every service. Brokers have none here; the store is served where its URL says."""

    common: CommonSettings
    gateway: GatewaySettings
    processor: ProcessorSettings
    notifier: NotifierSettings
    dashboard: DashboardSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """A service, and the queue that should be empty before it stops."""

    name: str
    run: Service
    queue: str | None = None


async def run(settings: EmbeddedSettings, stop: asyncio.Event) -> None:
    """Runs everything until ``stop`` is set, then drains. A service that crashes ends all of them."""
    log.warning(WARNING)
    broker, store = MemoryBroker(), FakeServer()
    address = urlsplit(settings.common.redis_url)
    async with serve_store(store, address.hostname or "127.0.0.1", address.port or 6379):
        await _run_in_stages(_stages(settings, broker, EmbeddedInfrastructure(broker, store)), broker, stop)


def _stages(
    settings: EmbeddedSettings, broker: MemoryBroker, infrastructure: EmbeddedInfrastructure
) -> list[_Stage]:
    common = settings.common
    return [
        _Stage(
            name=api_gateway.main.NAME,
            run=lambda stop: api_gateway.main.run(common, settings.gateway, infrastructure, stop),
        ),
        _Stage(
            name=ORDER_PROCESSOR.service,
            run=lambda stop: order_processor.main.run(common, settings.processor, infrastructure, stop),
            queue=ORDER_PROCESSOR.queue,
        ),
        _Stage(
            name=NOTIFIER.service,
            run=lambda stop: notifier.main.run(common, settings.notifier, infrastructure, stop),
            queue=NOTIFIER.queue,
        ),
        _Stage(
            name=dashboard.main.NAME,
            run=lambda stop: dashboard.main.run(
                common, settings.dashboard, infrastructure, stop, MemoryManagement(broker)
            ),
        ),
    ]


async def _run_in_stages(stages: list[_Stage], broker: MemoryBroker, stop: asyncio.Event) -> None:
    """Ends each service only after the one before it, so that what was accepted is decided and announced."""
    async with asyncio.TaskGroup() as group:
        running = []
        for stage in stages:
            ending = asyncio.Event()
            running.append((stage, group.create_task(_service(stage, ending)), ending))
        await stop.wait()
        for stage, task, ending in running:
            if stage.queue is not None:
                await _worked_off(broker, stage.queue)
            ending.set()
            await task


async def _service(stage: _Stage, stop: asyncio.Event) -> None:
    structlog.contextvars.bind_contextvars(service=stage.name)
    log.info("starting")
    await stage.run(stop)
    log.info("stopped")


async def _worked_off(broker: MemoryBroker, queue: str) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    while broker.depth(queue) + broker.unacked(queue) and time.monotonic() < deadline:  # noqa: ASYNC110 - see below
        await asyncio.sleep(POLL_SECONDS)  # the broker tells nobody of an ack
    if left := broker.depth(queue):
        log.warning("messages are lost with this process", queue=queue, messages=left)
