"""The one process of embedded mode: all services around one broker and one store, drained down the flow."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from fakeredis import FakeServer
from pydantic_settings import BaseSettings

from orderctl.embedded import WARNING
from orderctl.embedded.infrastructure import EmbeddedInfrastructure
from orderctl.embedded.store import serve_store
from shared.logs import get_logger
from shared.messaging.memory import MemoryBroker
from shared.orders.redis.reading import count_unfinished
from shared.service.program import program_of
from shared.services import SERVICES
from shared.settings import CommonSettings

SETTLE_SECONDS: Final = 5.0
"""How long a draining process waits for each queue to be worked off: what is left is lost with it."""
POLL_SECONDS: Final = 0.02

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """A service, and the queue that should be empty before it stops."""

    name: str
    run: Callable[[asyncio.Event], Coroutine[Any, Any, None]]
    queue: str | None


async def run(
    common: CommonSettings, settings: Mapping[str, BaseSettings], databases: Path, stop: asyncio.Event
) -> None:
    """Runs everything until ``stop`` is set, then drains. A service that crashes ends all of them.

    ``settings`` are each service's own, by its name. The store is served where its URL says; in the folder
    ``databases`` each service has one of its own.
    """
    log.warning(WARNING)
    broker, store = MemoryBroker(), FakeServer()
    infrastructure = EmbeddedInfrastructure(broker, store, databases)
    address = urlsplit(common.redis_url)
    stages = [
        _Stage(
            name=service.name,
            run=partial(program_of(service.name).serve, common, settings[service.name], infrastructure),
            queue=service.consumption.queue if service.consumption else None,
        )
        for service in SERVICES.values()
    ]
    async with (
        serve_store(store, address.hostname or "127.0.0.1", address.port or 6379, broker),
        infrastructure.store(timeout_seconds=SETTLE_SECONDS, max_connections=1) as redis,
    ):
        await _run_in_stages(stages, broker, stop)
        if lost := await count_unfinished(redis):
            log.warning("orders are lost with this process", undecided=lost.undecided, untold=lost.untold)


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
