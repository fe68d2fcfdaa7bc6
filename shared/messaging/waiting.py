"""Waiting out an absent dependency, which is no message's fault and costs none an attempt."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from shared.errors import DependencyUnavailable
from shared.logs import get_logger

FIRST_BACKOFF_SECONDS: Final = 0.05
LONGEST_BACKOFF_SECONDS: Final = 2.0
SAY_EVERY: Final = 30
"""About twice a minute for each that waits; a whole batch may."""

JITTER: Final = random.Random()
"""Spreads pauses, so that what waits for one thing does not ask for it at one time."""

Result = TypeVar("Result")
log = get_logger(__name__)


async def waiting_out(action: Callable[[], Awaitable[Result]]) -> Result:
    """Runs ``action`` until no dependency of it is away, with full-jitter backoff in between.

    It has no deadline of its own: a drain or a closing service cancels it. Other errors pass through.
    """
    attempt = 0
    while True:
        try:
            return await action()
        except DependencyUnavailable as error:
            pause = backoff_seconds(attempt)
            if attempt % SAY_EVERY == 0:
                log.warning("waiting for a dependency", reason=str(error), pause_seconds=round(pause, 3))
            attempt += 1
            await asyncio.sleep(pause)


async def repeating(job: Callable[[], Awaitable[object]], pause_seconds: float, *, what: str) -> None:
    """Runs ``job`` again and again, until cancelled; the pause grows while a dependency of it is away."""
    failures = 0
    while True:
        try:
            await job()
            failures = 0
        except DependencyUnavailable as error:
            if failures % SAY_EVERY == 0:
                log.warning(f"{what} waits for a dependency", reason=str(error))
            failures += 1
        longest = max(pause_seconds, LONGEST_BACKOFF_SECONDS)
        await asyncio.sleep(min(longest, pause_seconds * 2 ** min(failures, 16)))


def backoff_seconds(
    attempt: int,
    *,
    first: float = FIRST_BACKOFF_SECONDS,
    longest: float = LONGEST_BACKOFF_SECONDS,
) -> float:
    """How long to pause after failure number ``attempt``, from 0: full jitter, doubling to ``longest``."""
    return JITTER.uniform(first / 2, min(longest, first * 2 ** min(attempt, 16)))
