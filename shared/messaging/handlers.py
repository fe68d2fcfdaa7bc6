"""What a handler is, and what cuts across handlers: a middleware gives back another handler around one.

The router has its own outermost: one waits while something is away that everything needs, one has spans.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from shared.messages import Event
from shared.messaging.retry import History, Outcome
from shared.messaging.waiting import waiting_out


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A decoded event with the history of its failures."""

    event: Event[Any]
    history: History


BatchHandler = Callable[[Sequence[Incoming]], Awaitable[Sequence[Outcome]]]
"""Gets events of one kind and returns one outcome for each, in order. It must survive being run again."""

Middleware = Callable[[BatchHandler], BatchHandler]


def wrapped(handler: BatchHandler, middleware: Sequence[Middleware]) -> BatchHandler:
    """The handler within all of them, the first of them outermost."""
    return reduce(lambda inner, around: around(inner), reversed(middleware), handler)


def waits_out_outages(handler: BatchHandler) -> BatchHandler:
    """Tries again while the handler raises DependencyUnavailable: no event's fault, and no attempt of one."""

    async def around(batch: Sequence[Incoming]) -> Sequence[Outcome]:
        return await waiting_out(lambda: handler(batch))

    return around


def bounded(seconds: float) -> Middleware:
    """Cancels a handler that takes longer and raises TimeoutError, so that it holds up no other event."""

    def middleware(handler: BatchHandler) -> BatchHandler:
        async def around(batch: Sequence[Incoming]) -> Sequence[Outcome]:
            async with asyncio.timeout(seconds):
                return await handler(batch)

        return around

    return middleware
