"""Processes as an operating system knows them: they start, stall, and die between any two awaits.

Death is SIGKILL: the process's tasks are never resumed, no ``finally`` block of theirs runs while anybody
could notice, and what they have sent is on its way all the same.
"""

import asyncio
import contextvars
import gc
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from types import AsyncGeneratorType, CoroutineType
from typing import Any, TypeVar

from tests.simulator.loop import MEMBER, SimulatedLoop, Turn

Result = TypeVar("Result")
Spot = tuple[str, int]
"""A file and a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trap:
    """Death within so many callbacks of the next request that begins like this."""

    request: str
    steps: int


class Process:
    """A group of tasks with one fate. ``clock_skew`` is how wrong its wall clock is, in seconds."""

    def __init__(self, loop: SimulatedLoop, name: str, *, clock_skew: float = 0.0) -> None:
        self.name = name
        self.clock_skew = clock_skew
        self.is_alive = True
        self.dies_after: int | None = None
        self.trap: Trap | None = None
        self._loop = loop
        self._is_stalled = False
        self._parked: list[Turn] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._mourners: list[Callable[[], None]] = []
        self._context = contextvars.Context()
        self._context.run(MEMBER.set, self)

    def start(self, work: Coroutine[Any, Any, Result]) -> "asyncio.Task[Result]":
        """Runs a coroutine as part of this process."""
        return self._loop.create_task(work, context=self._context)

    def on_death(self, told: Callable[[], None]) -> None:
        """``told`` is called when the process has died, from outside of it."""
        self._mourners.append(told)

    def kill(self) -> None:
        """Ends it here and now."""
        if not self.is_alive:
            return
        self.is_alive = False
        self._parked.clear()
        for told in self._mourners:
            contextvars.Context().run(told)

    def stall(self) -> None:
        """Stops it as SIGSTOP does: its timers pass, and nothing of it runs."""
        self._is_stalled = True

    def resume(self) -> None:
        """Lets it run on, late as it is."""
        self._is_stalled = False
        parked, self._parked = self._parked, []
        for turn in parked:
            self._loop.admit(turn)

    def asks(self, request: str) -> None:
        """It is about to send a request."""
        if self.trap is not None and request.startswith(self.trap.request):
            self.dies_after, self.trap = self.trap.steps, None

    def admits(self, turn: Turn) -> bool:
        """See Member. A callback may be the one before which the process dies."""
        if not self.is_alive:
            return False
        if self._is_stalled:
            self._parked.append(turn)
            return False
        if self.dies_after is not None:
            self.dies_after -= 1
            if self.dies_after <= 0:
                self.kill()
        return self.is_alive

    def owns(self, task: "asyncio.Task[Any]") -> None:
        """See Member."""
        self._tasks.append(task)

    def places(self) -> list[str]:
        """Where its tasks stand, for the trace: the innermost line of each that is under way."""
        return [_place(task.get_coro()) for task in self._tasks if not task.done()]

    def spots(self) -> Iterator[Spot]:
        """Every await at which one of its tasks stands, the outer ones included."""
        for task in self._tasks:
            inner: Any = None if task.done() else task.get_coro()
            while inner is not None:
                frame = getattr(inner, "cr_frame", None) or getattr(inner, "ag_frame", None)
                if frame is not None:
                    yield frame.f_code.co_filename, frame.f_lineno
                inner = _awaited(inner)


def current() -> Process | None:
    """The process in which this is called, or None outside of all."""
    member = MEMBER.get()
    return member if isinstance(member, Process) else None


def _awaited(awaiting: Any) -> Any:
    """What a coroutine or an asynchronous generator waits for, if that is another one."""
    if isinstance(awaiting, CoroutineType):
        return awaiting.cr_await
    if isinstance(awaiting, AsyncGeneratorType):
        return awaiting.ag_await
    # The step of an asynchronous generator, as in ``async with``, does not say to which it belongs.
    return next((each for each in gc.get_referents(awaiting) if isinstance(each, AsyncGeneratorType)), None)


def _place(coroutine: Any) -> str:
    inner = coroutine
    while getattr(inner, "cr_await", None) is not None and hasattr(inner.cr_await, "cr_frame"):
        inner = inner.cr_await
    frame = inner.cr_frame
    return f"{inner.__qualname__}:{frame.f_lineno}" if frame is not None else inner.__qualname__
