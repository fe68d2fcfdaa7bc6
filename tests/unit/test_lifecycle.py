"""How a service starts, drains and ends."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from shared.service.lifecycle import drained, running
from tests.harness.stores import free_port
from tests.harness.waiting import wait_until

ROOT = Path(__file__).parents[2]


async def test_work_that_ends_after_the_stop_is_left_to_end() -> None:
    """A drain that is quick enough loses nothing."""
    stop, finished = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await stop.wait()
        await asyncio.sleep(0)
        finished.set()

    stop.set()
    await drained(work(), stop, drain_seconds=5.0)
    assert finished.is_set()


async def test_work_that_outlives_the_deadline_is_cancelled() -> None:
    """A drain ends in time, whatever hangs."""
    stop, cancelled = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    stop.set()
    await drained(work(), stop, drain_seconds=0.01)
    assert cancelled.is_set()


async def test_the_deadline_begins_with_the_stop() -> None:
    """Work may run for as long as nobody asks for its end."""
    stop, begun = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    draining = asyncio.create_task(drained(work(), stop, drain_seconds=0.01))
    await begun.wait()
    done, _ = await asyncio.wait({draining}, timeout=0.1)
    assert not done
    stop.set()
    await draining


async def test_work_that_crashes_is_heard_of() -> None:
    """A consumer that fails ends its service instead of leaving it idle."""

    async def work() -> None:
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        await drained(work(), asyncio.Event(), drain_seconds=5.0)


async def test_a_cancelled_drain_takes_its_work_along() -> None:
    """Nothing is left running behind an ended service."""
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    draining = asyncio.create_task(drained(work(), asyncio.Event(), drain_seconds=5.0))
    await begun.wait()
    draining.cancel()
    await asyncio.wait({draining})
    assert cancelled.is_set()


async def test_a_background_task_that_crashes_ends_the_block() -> None:
    """A service never lives on without one of its parts."""

    async def crash() -> None:
        raise ConnectionError("gone")

    with pytest.raises(ExceptionGroup) as raised:
        async with running(crash()):
            await asyncio.Event().wait()
    assert raised.group_contains(ConnectionError, match="gone")


async def test_background_tasks_end_with_the_block() -> None:
    """Whoever leaves the block leaves nothing running."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def serve() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with running(serve()):
        await begun.wait()
    assert ended.is_set()


@asynccontextmanager
async def processor_process(folder: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A real order_processor that can reach neither a broker nor a store, and its operations URL."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "order_processor",
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "PROCESSOR_OPS_PORT": str(port),
            "RABBITMQ_URLS": "amqp://guest:guest@127.0.0.1:1/,amqp://guest:guest@127.0.0.1:2/",
            "REDIS_URL": "redis://127.0.0.1:1/0",
        },
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def probe(session: aiohttp.ClientSession, url: str) -> tuple[int, str]:
    """Status and text of one answer; (0, '') while nobody answers."""
    try:
        async with session.get(url) as response:
            return response.status, await response.text()
    except aiohttp.ClientConnectionError:
        return 0, ""


async def test_a_service_without_its_dependencies_lives_says_why_it_is_not_ready_and_ends_on_demand(
    tmp_path: Path,
) -> None:
    """The real process: alive, unready with a reason per dependency, and SIGTERM is a clean end."""
    async with processor_process(tmp_path) as (process, url), aiohttp.ClientSession() as session:

        async def is_alive() -> bool:
            return (await probe(session, f"{url}/livez"))[0] == 200

        async def has_tried_both() -> bool:
            text = (await probe(session, f"{url}/readyz"))[1]
            return text.count("refused") == 2

        await wait_until(is_alive, what="/livez to answer")
        await wait_until(has_tried_both, what="broker and store to have been tried")
        status, text = await probe(session, f"{url}/readyz?verbose")
        metrics, _ = await probe(session, f"{url}/metrics")
        process.send_signal(signal.SIGTERM)
        output, _ = await process.communicate()
    assert (status, metrics) == (503, 200)
    reasons = dict(line.split(": ", 1) for line in text.splitlines())
    assert {"redis", "rabbitmq", "consumer"} <= reasons.keys()
    assert reasons["consumer"] == "not consuming orders.queue"
    assert process.returncode == 0
    assert b'"event":"stopped"' in output
