"""Requests on their way to servers that live on when whoever asked has died or stopped waiting.

Nothing connects the one who asks and the server but the wire, so every outcome that a broken connection can
have is there: not carried out, carried out without an answer, carried out long after everybody gave up.
"""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, TypeVar

from tests.simulator.loop import SimulatedLoop

Result = TypeVar("Result")


class Cut(Enum):
    """Where the connection breaks, if it does."""

    NOWHERE = auto()
    BEFORE = auto()
    """The server never hears of it."""
    MIDWAY = auto()
    """Of several commands in one request, only the first ones are carried out."""
    AFTER = auto()
    """It is carried out, and the answer is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """How one request fares: its way there and back in seconds, and where it is cut off."""

    there: float
    back: float
    cut: Cut = Cut.NOWHERE


class Network:
    """Carries requests. ``under_way`` counts those that may still have an effect."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop
        self._outside = contextvars.Context()
        self.under_way = 0

    def spawn(self, work: Coroutine[Any, Any, Result]) -> "asyncio.Task[Result]":
        """Runs something that belongs to no process."""
        return self._loop.create_task(work, context=self._outside)

    async def ask(
        self,
        serve: Callable[[], Awaitable[Result]],
        passage: Passage,
        broken: Callable[[], Exception],
    ) -> Result:
        """The server's answer, or its error, or ``broken()`` where the connection broke."""
        answer: asyncio.Future[Result] = self._loop.create_future()
        self.under_way += 1
        self.spawn(self._carry(serve, passage, broken, answer))
        return await answer

    async def _carry(
        self,
        serve: Callable[[], Awaitable[Result]],
        passage: Passage,
        broken: Callable[[], Exception],
        answer: "asyncio.Future[Result]",
    ) -> None:
        try:
            result = await self._served(serve, passage, broken)
            await asyncio.sleep(passage.back)
            if passage.cut is not Cut.NOWHERE:
                raise broken()  # noqa: TRY301 - as the server would, so that one place answers
        except Exception as error:  # noqa: BLE001 - whatever the server raises is the answer
            if not answer.done():
                answer.set_exception(error)
            return
        if not answer.done():
            answer.set_result(result)

    async def _served(
        self, serve: Callable[[], Awaitable[Result]], passage: Passage, broken: Callable[[], Exception]
    ) -> Result:
        try:
            await asyncio.sleep(passage.there)
            if passage.cut is Cut.BEFORE:
                raise broken()
            return await serve()
        finally:
            self.under_way -= 1
