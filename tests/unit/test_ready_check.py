"""The image's health check, against services that are ready, not ready, and not there."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry

from shared.health import Health
from shared.service.operations import operations_app

CHECK = Path(__file__).parents[2] / "deploy" / "ready.py"


@pytest.fixture
async def fault() -> list[str]:
    """What is wrong with the service, first of all nothing."""
    return []


@pytest.fixture
async def served(fault: list[str]) -> AsyncIterator[TestServer]:
    """A service that is ready while nothing is wrong."""
    health = Health()
    health.add("broker", lambda: fault[0] if fault else None)
    server = TestServer(operations_app(health, CollectorRegistry()))
    async with server:
        yield server


async def check(port: int | None) -> tuple[int | None, str]:
    """The status and the words of the check."""
    environment = {"PATH": os.environ["PATH"]} | ({} if port is None else {"READY_PORT": str(port)})
    process = await asyncio.create_subprocess_exec(
        sys.executable, CHECK, env=environment, stdout=asyncio.subprocess.PIPE
    )
    words, _ = await process.communicate()
    return process.returncode, words.decode()


async def test_a_service_that_is_ready_is_healthy(served: TestServer) -> None:
    """By its own word."""
    assert await check(served.port) == (0, "ok\n")


async def test_a_service_that_is_not_ready_says_why(served: TestServer, fault: list[str]) -> None:
    """The reason is what `docker inspect` then shows."""
    fault.append("no node answers")
    assert await check(served.port) == (1, "broker: no node answers\n")


async def test_a_service_that_does_not_answer_is_not_healthy(unused_tcp_port: int) -> None:
    """Nothing listens: the process is starting, or gone."""
    status, words = await check(unused_tcp_port)
    assert status == 1
    assert words.startswith(f"port {unused_tcp_port}: ")


async def test_a_container_without_a_service_has_nothing_to_be_asked() -> None:
    """As one that runs orderctl."""
    assert await check(None) == (0, "")
