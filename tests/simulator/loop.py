"""An event loop without a clock: of what is ready, a seed picks what runs, and time is what timers say.

Every callback belongs to the process in whose context it was scheduled, which may be dead or stopped by the
time its turn comes. Anything that would touch the real world (sockets, threads, signals) is not there and
raises.
"""

import asyncio
import contextlib
import heapq
import random
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar
from typing import Any, Final, Protocol, TypeVar, TypeVarTuple

MOST_STEPS: Final = 400_000
"""More callbacks than any run needs; past them something turns without waiting."""
MOST_THROWS: Final = 50
"""How often a coroutine may refuse to end."""

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


class Endless(AssertionError):
    """Raised when the simulation runs on and on, or when nothing in it will ever happen again."""


class Member(Protocol):
    """What callbacks belong to."""

    def admits(self, turn: "Turn") -> bool:
        """Whether the callback may run now; who says no keeps it or lets it vanish."""

    def owns(self, task: "asyncio.Task[Any]") -> None:
        """A task has begun in it."""


MEMBER: Final[ContextVar[Member | None]] = ContextVar("member", default=None)
Turn = tuple[asyncio.Handle, Member | None]


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs one coroutine and all that comes of it. ``time()`` starts at 0, in seconds."""

    def __init__(self, random_: random.Random) -> None:
        super().__init__()
        self._random = random_
        self._now = 0.0
        self._steps = 0
        self._numbers = 0
        self._turns: list[Turn] = []
        self._timers: list[tuple[float, int, Turn]] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._is_over = False
        self.broken_callbacks: list[str] = []

    # --- what asyncio asks of a loop ------------------------------------------------------------------

    def time(self) -> float:
        """Virtual seconds since the start."""
        return self._now

    def call_soon(
        self, callback: Callable[[*Arguments], object], *args: *Arguments, context: Context | None = None
    ) -> asyncio.Handle:
        """See AbstractEventLoop; soon means before time goes on, in no particular order."""
        handle = asyncio.Handle(callback, args, self, context)
        self.admit((handle, _member(context)))
        return handle

    def call_at(
        self,
        when: float,
        callback: Callable[[*Arguments], object],
        *args: *Arguments,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """See AbstractEventLoop."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._numbers += 1
        heapq.heappush(self._timers, (when, self._numbers, (handle, _member(context))))
        return handle

    def create_task(
        self,
        coro: Generator[Any, None, Result] | Coroutine[Any, Any, Result],
        *,
        name: object = None,
        context: Context | None = None,
        **_: object,
    ) -> "asyncio.Task[Result]":
        """See AbstractEventLoop; the task belongs to the context's process."""
        task = asyncio.Task(coro, loop=self, name=str(name or "task"), context=context)
        self._tasks.append(task)
        member = _member(context)
        if member is not None:
            member.owns(task)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Notes callbacks that failed. What the garbage collector has to say comes at no certain time."""
        if "handle" in context and not self._is_over:
            self.broken_callbacks.append(f"{context['message']}: {context.get('exception')!r}")

    # --- running --------------------------------------------------------------------------------------

    def admit(self, turn: Turn) -> None:
        """Makes a callback ready."""
        if not self._is_over:
            self._turns.append(turn)

    def run(self, main: Coroutine[Any, Any, Result]) -> Result:
        """Runs until ``main`` has its result; whatever else is under way then never goes on."""
        asyncio.events._set_running_loop(self)
        try:
            task = self.create_task(main)
            while not task.done():
                self._step()
            return task.result()
        finally:
            self._is_over = True
            asyncio.events._set_running_loop(None)
            self._bury()
            self.close()

    def _step(self) -> None:
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise Endless(f"more than {MOST_STEPS} callbacks by {self._now:.3f} s")
        while not self._turns:
            self._go_on()
        chosen = int(self._random.random() * len(self._turns))
        self._turns[chosen], self._turns[-1] = self._turns[-1], self._turns[chosen]
        turn = self._turns.pop()
        handle, member = turn
        if not handle.cancelled() and (member is None or member.admits(turn)):
            handle._run()

    def _go_on(self) -> None:
        """Moves time to the next timer that counts, and makes ready whatever is due by then."""
        while self._timers and self._timers[0][2][0].cancelled():
            heapq.heappop(self._timers)
        if not self._timers:
            raise Endless(f"nothing will ever happen again after {self._now:.3f} s")
        self._now = max(self._now, self._timers[0][0])
        while self._timers and self._timers[0][0] <= self._now:
            self._turns.append(heapq.heappop(self._timers)[2])

    def _bury(self) -> None:
        """Ends the coroutines that will never be resumed, so that no collector does so with a noise.

        Their ``finally`` blocks run now, in a world that nobody looks at any more.
        """
        for task in self._tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                _end(task.get_coro())
        self._turns.clear()
        self._timers.clear()


def _member(context: Context | None) -> Member | None:
    return MEMBER.get() if context is None else context.get(MEMBER)


def _end(coroutine: Any) -> None:
    """Throws until nothing is left to clean up; what that raises concerns nobody."""
    for _ in range(MOST_THROWS):
        with contextlib.suppress(BaseException):
            coroutine.close()
            return
