"""Deadlines without a timer each.

An event loop's timer costs more than most of what it bounds: under load a quarter of one script's round trip.
Deadlines of one length come due in the order in which they began, so one timer serves all of a length.
"""

import asyncio
import contextvars
import threading
from collections import deque
from types import TracebackType
from typing import Protocol


class Bounded(Protocol):
    """Something that must be over in time."""

    def is_over(self) -> bool:
        """Whether nothing is left to bound."""

    def expire(self) -> None:
        """It is not over, and its time is."""


class Line:
    """What must be over within the same ``seconds``, from when it was added."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._waiting: deque[tuple[float, Bounded]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, bounded: Bounded) -> None:
        """It has ``seconds`` from now."""
        due_at = self._loop.time() + self._seconds
        self._waiting.append((due_at, bounded))
        if self._timer is None:
            self._timer = self._wake_at(due_at)

    def _look(self) -> None:
        """Whoever is first now, and not over, is the next to be looked after."""
        now, waiting = self._loop.time(), self._waiting
        try:
            while waiting and (waiting[0][0] <= now or waiting[0][1].is_over()):
                _, bounded = waiting.popleft()
                if not bounded.is_over():
                    bounded.expire()
        finally:
            self._timer = self._wake_at(waiting[0][0]) if waiting else None

    def _wake_at(self, when: float) -> asyncio.TimerHandle:
        """In no context: it is nobody's own, and would keep that of whoever came first."""
        return self._loop.call_at(when, self._look, context=contextvars.Context())


class Deadline:
    """``asyncio.timeout`` in a line: raises TimeoutError where the block takes longer."""

    __slots__ = ("_is_over", "_line", "_timeout")

    def __init__(self, line: Line) -> None:
        self._line = line
        self._timeout = asyncio.Timeout(None)
        self._is_over = False

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        self._line.add(self)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over = True
        await self._timeout.__aexit__(kind, error, trace)

    def is_over(self) -> bool:
        """See Bounded."""
        return self._is_over

    def expire(self) -> None:
        """See Bounded."""
        self._timeout.reschedule(0.0)  # long ago


class _Here(threading.local):
    """The lines of the event loop that runs in this thread. Those of an earlier one keep their own timers."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.lines: dict[float, Line] = {}


_here = _Here()


def within(seconds: float) -> Deadline:
    """Bounds a block: ``async with within(2.0): ...``. Raises TimeoutError there."""
    return Deadline(line_of(seconds))


def line_of(seconds: float) -> Line:
    """The running loop's line for this length."""
    loop = asyncio.get_running_loop()
    if _here.loop is not loop:
        _here.loop, _here.lines = loop, {}
    line = _here.lines.get(seconds)
    if line is None:
        line = _here.lines[seconds] = Line(loop, seconds)
    return line
