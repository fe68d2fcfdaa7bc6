"""Whether a consumer keeps its promises: the same effects, whatever brokers and crashes do to its events.

Every delivery may come twice, in another order, or in other company, and a process may die wherever it
awaits something, after which all that was not acked comes again. What is left in the end must be as if each
event had come once. A coroutine that dies here is left where it stands: nothing of it runs on, as in a crash.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final

from shared.messages import Event
from shared.messaging.handlers import BatchHandler, Incoming
from shared.messaging.retry import Dead, History, Retry

MOST_ATTEMPTS: Final = 6
PAUSE_SECONDS: Final = 0.02
"""Before what is put off comes again, whatever it asks for: leases are to be shorter than that here."""
MOST_AWAITS: Final = 1_000
"""Of one event. Past them a handler waits for something that does not come."""


class BrokenPromise(AssertionError):
    """Raised when the effects are others than those of each event once; the text says in which case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certified:
    """A handler in a world of its own, and what can be seen of its effects there, as a value to compare."""

    handle: BatchHandler
    effects: Callable[[], Awaitable[Any]]


World = Callable[[], AbstractAsyncContextManager[Certified]]
"""Makes the handler and its surroundings, empty, as often as it is called."""


async def certify(world: World, events: Sequence[Event[Any]]) -> None:
    """Tries the handler with these events, which are of the kinds that it takes. Raises BrokenPromise.

    What it starts as tasks of its own and does not await is not seen to die.
    """
    told = [Incoming(event=each, history=History()) for each in events]
    expected = await _effects_of(world, [[each] for each in told])
    for case, batches in (
        ("each event comes twice", [[each] for each in told for _ in range(2)]),
        ("each event comes twice at once", [[each, each] for each in told]),
        ("all events come again after the last", [[each] for each in (*told, *told)]),
        ("the events come in another order", [[each] for each in reversed(told)]),
        ("the events come together", [told]),
    ):
        _compare(case, expected, await _effects_of(world, batches))
    for number, event in enumerate(told):
        await _dies(world, told[:number], event, told[number + 1 :], expected)


async def _effects_of(world: World, batches: Sequence[Sequence[Incoming]]) -> Any:
    async with world() as certified:
        for batch in batches:
            await _tell(certified, batch)
        return await certified.effects()


async def _dies(
    world: World, before: Sequence[Incoming], event: Incoming, after: Sequence[Incoming], expected: Any
) -> None:
    """The process dies at each await in turn, and comes back to all that was not acked."""
    for awaits in range(MOST_AWAITS):
        async with world() as certified:
            for each in before:
                await _tell(certified, [each])
            mortal = _Mortal(certified.handle([event]), awaits)
            await mortal
            for each in (event, *after):
                await _tell(certified, [each])
            case = f"it dies at await {awaits + 1} of {event.event.id}, which comes again"
            _compare(case, expected, await certified.effects())
        if mortal.is_through:
            return
    raise BrokenPromise(f"{event.event.id} is not dealt with after {MOST_AWAITS:,} awaits")


class _Mortal:
    """Runs a coroutine up to an await, and leaves it there for good."""

    _left: Final[list[Any]] = []
    """Kept: one that nothing refers to would be closed, and its cleanup would run."""

    def __init__(self, work: Awaitable[Any], awaits: int) -> None:
        self._work = work.__await__()
        self._awaits = awaits
        self.is_through = False

    def __await__(self) -> Generator[Any, Any, None]:
        try:
            for _ in range(self._awaits):
                yield self._work.send(None)
            self._work.send(None)
        except StopIteration:
            self.is_through = True
            return
        self._left.append(self._work)


async def _tell(certified: Certified, batch: Sequence[Incoming]) -> None:
    """Until all of them are dealt with; what is put off comes again."""
    for _ in range(MOST_ATTEMPTS):
        outcomes = await certified.handle(batch)
        if len(outcomes) != len(batch):
            raise BrokenPromise(f"{len(batch)} events have {len(outcomes)} outcomes")
        for outcome, each in zip(outcomes, batch, strict=True):
            if isinstance(outcome, Dead):
                raise BrokenPromise(f"{each.event.id} is given up: {outcome.reason}: {outcome.error}")
        late = [each for outcome, each in zip(outcomes, batch, strict=True) if isinstance(outcome, Retry)]
        if not late:
            return
        batch = late
        await asyncio.sleep(PAUSE_SECONDS)
    raise BrokenPromise(f"{batch[0].event.id} is put off {MOST_ATTEMPTS} times")


def _compare(case: str, expected: Any, found: Any) -> None:
    if found != expected:
        raise BrokenPromise(f"when {case}, its effects are {found!r}, and {expected!r} when each comes once")
