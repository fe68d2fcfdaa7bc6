"""One service alone in this process, on the infrastructure of embedded mode."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientSession

from orderctl.embedded.infrastructure import EmbeddedInfrastructure
from shared.service.program import Program
from shared.settings import CommonSettings
from tests.harness.waiting import wait_until


@dataclass(frozen=True, slots=True)
class RunningProgram:
    """Clients of its ports, and what ends it."""

    session: ClientSession
    operations: ClientSession
    stop: asyncio.Event
    task: "asyncio.Task[None]"


@asynccontextmanager
async def running_program(
    program: Program[Any], own: Any, infrastructure: EmbeddedInfrastructure
) -> AsyncIterator[RunningProgram]:
    """A service, once it is ready; told to end after the block. One that has a single port has both there."""
    stop = asyncio.Event()
    port, operations_port = (getattr(own, name, None) for name in ("port", "ops_port"))
    task = asyncio.create_task(program.run(CommonSettings(), own, infrastructure, stop))
    try:
        async with (
            ClientSession(f"http://127.0.0.1:{port or operations_port}") as session,
            ClientSession(f"http://127.0.0.1:{operations_port or port}") as operations,
        ):

            async def is_ready() -> bool:
                try:
                    async with operations.get("/readyz") as answer:
                        return answer.status == 200
                except OSError:
                    return task.done()

            await wait_until(is_ready, what=f"{program.name} is ready")
            yield RunningProgram(session, operations, stop, task)
    finally:
        stop.set()
        await task
