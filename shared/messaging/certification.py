"""Whether a consumer keeps its promises: the same effects, whatever brokers and crashes do to its events.

Every delivery may come twice, in another order, or in other company; a process may die wherever it awaits
something, or be cancelled there since a store is slow, after which all that was not acked comes again. What
is left in the end must be as if each event had come once.

As a plugin of pytest (``pytest_plugins = ["shared.messaging.certification"]``) it runs a test that takes
``promise`` once for each promise: ``await promise(world, events)``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from shared.messages import Event, encode
from shared.messaging.handlers import BatchHandler, Incoming
from shared.messaging.memory import MemoryBroker
from shared.messaging.ports import OutgoingMessage
from shared.messaging.retry import Dead, History, Retry
from shared.messaging.router import Consuming, Router
from shared.pipeline import ORDER_PROCESSOR

MOST_ATTEMPTS: Final = 6
PAUSE_SECONDS: Final = 0.02
"""Before what is put off comes again, whatever it asks for: leases are to be shorter than that here."""
MOST_AWAITS: Final = 1_000
"""Of one event. Past them a handler waits for something that does not come."""
POISON_SECONDS: Final = 30.0
POISON: Final = b"{"


class BrokenPromise(AssertionError):
    """Raised when the effects are others than those of each event once; the text says in which case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certified:
    """A handler in a world of its own, and what can be seen of its effects there, as a value to compare."""

    handle: BatchHandler
    effects: Callable[[], Awaitable[Any]]


World = Callable[[], AbstractAsyncContextManager[Certified]]
"""Makes the handler and its surroundings, empty, as often as it is called."""

Promise = Callable[[World, Sequence[Event[Any]]], Awaitable[None]]
"""Tries one case with these events, which are of the kinds that the handler takes. Raises BrokenPromise."""

Batches = Sequence[Sequence[Incoming]]


async def certify(world: World, events: Sequence[Event[Any]]) -> None:
    """Tries every promise. What a handler starts as tasks and does not await is not seen to die."""
    for promise in PROMISES.values():
        await promise(world, events)


def pytest_generate_tests(metafunc: Any) -> None:
    """A test that takes ``promise`` runs once for each of them, by its name."""
    if "promise" in metafunc.fixturenames:
        metafunc.parametrize("promise", PROMISES.values(), ids=PROMISES.keys())


def _told(case: str, batches: Callable[[list[Incoming]], Batches]) -> Promise:
    """The handler is told of the events in these batches."""

    async def promise(world: World, events: Sequence[Event[Any]]) -> None:
        expected = await _expected(world, events)
        async with world() as certified:
            await _tell_all(certified, batches(_incoming(events)))
            _compare(case, expected, await certified.effects())

    return promise


def _interrupted(case: str, interruption: type["_Interruption"]) -> Promise:
    """The handler is interrupted at each await of each event in turn, and comes back to what is not acked."""

    async def promise(world: World, events: Sequence[Event[Any]]) -> None:
        expected, told = await _expected(world, events), _incoming(events)
        for number, each in enumerate(told):
            for awaits in range(MOST_AWAITS):
                async with world() as certified:
                    await _tell_all(certified, [[before] for before in told[:number]])
                    interrupted = interruption(certified.handle([each]), awaits)
                    await interrupted.run()
                    await _tell_all(certified, [[after] for after in told[number:]])
                    when = f"{case} at await {awaits + 1} of {each.event.id}, which comes again"
                    _compare(when, expected, await certified.effects())
                if interrupted.is_through:
                    break
            else:
                raise BrokenPromise(f"{each.event.id} is not dealt with after {MOST_AWAITS:,} awaits")

    return promise


async def _by_two_at_once(world: World, events: Sequence[Event[Any]]) -> None:
    """As by two replicas, of which one was thought dead: what one looked up, the other may have changed."""
    expected = await _expected(world, events)
    async with world() as certified:
        for each in _incoming(events):
            async with asyncio.TaskGroup() as replicas:
                for _ in range(2):
                    replicas.create_task(_tell(certified, [each]))
        _compare("two deal with each event at the same time", expected, await certified.effects())


async def _beside_poison(world: World, events: Sequence[Event[Any]]) -> None:
    """Through a router, with messages before, between and behind the events that cannot be read."""
    expected = await _expected(world, events)
    broker, row, stop = MemoryBroker(), ORDER_PROCESSOR, asyncio.Event()
    for body in [body for event in events for body in (POISON, encode(event))] + [POISON]:
        await broker.publish(OutgoingMessage(exchange="", routing_key=row.queue, body=body))
    async with world() as certified:
        handlers = dict.fromkeys({type(event.data) for event in events}, certified.handle)
        consuming = Consuming(consumption=row, handlers=handlers)
        metrics = _Settled(2 * len(events) + 1)
        router = Router(consuming, publisher=broker, subscriber=broker, failures=None, metrics=metrics)
        async with asyncio.timeout(POISON_SECONDS), asyncio.TaskGroup() as group:
            group.create_task(router.run(stop))
            await metrics.all_ended.wait()
            stop.set()
        case = "messages that cannot be read come between them"
        _compare(case, expected, await certified.effects())
        dead = broker.depth(row.dead_queue)
        if dead != len(events) + 1:
            raise BrokenPromise(f"when {case}, {dead} are dead letters, and {len(events) + 1} should be")


class _Settled:
    """The router's figures, of which one counts here: how many messages have come to an end."""

    def __init__(self, expected: int) -> None:
        self._left = expected
        self.all_ended = asyncio.Event()

    def settled(self, outcome: str, count: int) -> None:
        self._left -= count if outcome in {"done", "dead"} else 0
        if self._left <= 0:
            self.all_ended.set()

    def redelivered(self, count: int) -> None:
        pass

    def batch(self, size: int, seconds: float, trace_id: str | None = None) -> None:
        pass


class _Interruption(Protocol):
    """Runs a coroutine up to an await."""

    is_through: bool

    def __init__(self, work: Awaitable[Any], awaits: int) -> None: ...

    async def run(self) -> None:
        """``is_through`` says afterwards that it had fewer awaits."""


class _Death:
    """Leaves the coroutine where it stands, for good: nothing of it runs on, as in a crash."""

    _left: Final[list[Any]] = []
    """Kept: one that nothing refers to would be closed, and its cleanup would run."""

    def __init__(self, work: Awaitable[Any], awaits: int) -> None:
        self._work = work.__await__()
        self._awaits = awaits
        self.is_through = False

    async def run(self) -> None:
        await self

    def __await__(self) -> Generator[Any, Any, None]:
        try:
            for _ in range(self._awaits):
                yield self._work.send(None)
            self._work.send(None)
        except StopIteration:
            self.is_through = True
            return
        self._left.append(self._work)


class _Cancellation:
    """Cancels the coroutine, as a deadline does, and waits for its end."""

    def __init__(self, work: Awaitable[Any], awaits: int) -> None:
        self._work = work.__await__()
        self._awaits = awaits
        self.is_through = False

    async def run(self) -> None:
        self._task = asyncio.ensure_future(self._to_its_end())
        await asyncio.wait([self._task])
        if not self._task.cancelled() and (error := self._task.exception()) is not None:
            raise error

    async def _to_its_end(self) -> None:
        await self

    def __await__(self) -> Generator[Any, Any, None]:
        step: Callable[[Any], Any] = self._work.send
        given: Any = None
        for awaits in range(MOST_AWAITS):
            try:
                awaited = step(given)
            except StopIteration:
                self.is_through = awaits <= self._awaits
                return
            if awaits == self._awaits:
                self._task.cancel()
            try:
                step, given = self._work.send, (yield awaited)
            except BaseException as error:  # noqa: BLE001 - the coroutine's own to deal with
                step, given = self._work.throw, error
        raise BrokenPromise(f"cancelled, it goes on for {MOST_AWAITS:,} awaits")


async def _expected(world: World, events: Sequence[Event[Any]]) -> Any:
    """The effects where each event comes once. Without any, no promise could be seen to be broken."""
    async with world() as certified:
        before = await certified.effects()
        await _tell_all(certified, [[each] for each in _incoming(events)])
        after = await certified.effects()
    if after == before:
        raise BrokenPromise(f"the events have no effect that is seen: it stays {before!r}")
    return after


def _incoming(events: Iterable[Event[Any]]) -> list[Incoming]:
    return [Incoming(event=each, history=History()) for each in events]


async def _tell_all(certified: Certified, batches: Batches) -> None:
    for batch in batches:
        await _tell(certified, batch)


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


PROMISES: Final[Mapping[str, Promise]] = {
    "each_twice": _told("each event comes twice", lambda told: [[each] for each in told for _ in range(2)]),
    "twice_at_once": _told("each event comes twice at once", lambda told: [[each, each] for each in told]),
    "all_again": _told("all events come again after the last", lambda told: [[each] for each in told * 2]),
    "other_order": _told("the events come in another order", lambda told: [[each] for each in told[::-1]]),
    "together": _told("the events come together", lambda told: [told]),
    "by_two_at_once": _by_two_at_once,
    "beside_poison": _beside_poison,
    "is_cancelled": _interrupted("it is cancelled", _Cancellation),
    "dies": _interrupted("it dies", _Death),
}
"""What is promised of every handler, by the name of the case."""
