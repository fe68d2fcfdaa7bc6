"""Awaiting conditions instead of sleeping."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

POLL_SECONDS = 0.02


async def wait_until(
    condition: Callable[[], bool] | Callable[[], Awaitable[bool]],
    *,
    timeout_seconds: float = 30.0,
    what: str | Callable[[], str] = "the condition",
) -> float:
    """Waits until ``condition`` holds and returns the seconds it took; fails the test at the deadline."""
    began = time.monotonic()
    pause = asyncio.Event()
    while True:
        holds = condition()
        if inspect.isawaitable(holds):
            holds = await holds
        elapsed = time.monotonic() - began
        if holds:
            return elapsed
        if elapsed > timeout_seconds:
            raise AssertionError(f"not within {timeout_seconds:g} s: {what() if callable(what) else what}")
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await pause.wait()
        except TimeoutError:
            continue
