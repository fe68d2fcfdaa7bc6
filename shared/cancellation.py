"""Cancellations that get lost in libraries, found again.

``asyncio.wait_for`` before Python 3.12, and code built like it, may swallow a cancellation that arrives just
as the awaited thing completes. The task then goes on for ever although it was told to end; measured as a
supervisor that outlived its service. The task itself still knows that it was asked.
"""

import asyncio


def raise_if_cancelled() -> None:
    """Raises CancelledError where the running task was asked to end and the request was swallowed."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
