"""Cancellations: those that get lost in libraries, found again, and those that must wait for a moment.

``asyncio.wait_for`` before Python 3.12, and code built like it, may swallow a cancellation that arrives just
as the awaited thing completes. The task then goes on for ever although it was told to end; measured as a
supervisor that outlived its service. The task itself still knows that it was asked.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


def raise_if_cancelled() -> None:
    """Raises CancelledError where the running task was asked to end and the request was swallowed."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def finishing(
    work: Coroutine[Any, Any, Result], grace_seconds: float, ask_to_end: Callable[[], None]
) -> Result:
    """Runs ``work``. A cancellation of the caller asks it to end, and ends it ``grace_seconds`` later."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        ask_to_end()
        try:
            await asyncio.wait({task}, timeout=grace_seconds)
        finally:
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
