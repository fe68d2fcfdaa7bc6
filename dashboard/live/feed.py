"""Everything that happens, read once for all who watch.

What was read is a chain of links, each of which knows the next one: readers go along it at their own speed,
and what the slowest has passed is gone. Nothing is read while no one watches.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from shared.http.event_stream import StreamEvent, StreamEvents, an_event
from shared.messages import event_time
from shared.messaging.waiting import repeating
from shared.orders.redis.log import LogEntry, LogPosition, StepLog, place_of

POLL_SECONDS: Final = 0.25
LOOK_SECONDS: Final = 1.0
AT_ONCE: Final = 1_000
DEGRADED: Final = "system.degraded"
RECOVERED: Final = "system.recovered"
ACTIVITY: Final = "activity"
"""Once a second while there are steps, to those who do not want each."""
RESET: Final = an_event({}, name="reset")
"""What was seen last is not there any more: look at everything anew."""
Place = tuple[int, int]
"""Of an entry in the log: see ``place_of``."""
_NUMBER: Final = re.compile(r"\b\d[\d,.]*\b")


class Stretch:
    """What was read at once, where the log was read to by then, and what came after it.

    Only steps have an id: where a client goes on is told by them alone.
    """

    def __init__(self, end: LogPosition, events: Sequence[StreamEvent] = ()) -> None:
        self.end = end
        self.read_at = time.monotonic()
        self.following: Stretch | None = None
        self.has_following = asyncio.Event()
        self._events = events

    @cached_property
    def all(self) -> StreamEvents:
        """Steps, and what happened to the system."""
        return StreamEvents([each for each in self._events if each.name != ACTIVITY])

    @cached_property
    def without_steps(self) -> StreamEvents:
        """What happened to the system, and that there were steps."""
        return StreamEvents([each for each in self._events if not each.id])

    def after(self, place: Place) -> StreamEvents:
        """All, but for steps that stand no further than that in the log."""
        told = (each for each in self._events if each.name != ACTIVITY)
        return StreamEvents([each for each in told if not each.id or place_of(each.id) > place])


@dataclass(slots=True)
class Bookmark:
    """Where a reader is. Only this leads there, so that what lies before it can be forgotten."""

    at: Stretch


class Feed:
    """Follows the log of steps and the verdict on the system. ``attention`` says what is wrong now."""

    def __init__(self, steps: StepLog, attention: Callable[[], Awaitable[Sequence[str]]]) -> None:
        self.steps = steps
        self._attention = attention
        self._last: Stretch | None = None
        self._begun = asyncio.Event()
        self._causes: Mapping[str, str] = {}
        self.readers = 0
        self._watching = asyncio.Event()
        self._steps_since = 0
        self.is_closed = False

    async def run_steps(self) -> None:
        """Follows the log while there are readers, until cancelled."""
        await repeating(self.follow, POLL_SECONDS, what="following the steps of orders")

    async def run_verdicts(self) -> None:
        """Looks at the system while there are readers, until cancelled."""
        await repeating(self.look, LOOK_SECONDS, what="watching the pipeline")

    async def follow(self) -> None:
        """Looks into the log once."""
        if not self.readers:
            self._last, self._causes = None, {}
            self._begun.clear()
            self._watching.clear()
            await self._watching.wait()
        if self._last is None:
            self._last = Stretch(await self.steps.end())
            self._begun.set()
        page = await self.steps.read(self._last.end, AT_ONCE)
        if page is None:
            self._append([RESET], await self.steps.end())
        elif page.read:
            self._steps_since += page.read
            self._append([step_event(entry) for entry in page.entries], page.end)

    async def look(self) -> None:
        """Compares what is wrong with what was, by its words without their numbers, and counts steps."""
        await self._watching.wait()
        now = {_NUMBER.sub("#", cause): cause for cause in await self._attention()}
        before, self._causes = self._causes, now
        gone = [cause for words, cause in before.items() if words not in now]
        come = [cause for words, cause in now.items() if words not in before]
        told = [_of_system(RECOVERED, cause) for cause in gone] + [
            _of_system(DEGRADED, cause) for cause in come
        ]
        if self._steps_since:
            told.append(an_event({"steps": self._steps_since}, name=ACTIVITY))
            self._steps_since = 0
        if self._last is not None and told:
            self._append(told, self._last.end)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """There is something to read as long as this is open."""
        self.readers += 1
        self._watching.set()
        try:
            yield
        finally:
            self.readers -= 1

    async def latest(self) -> tuple[Bookmark, StreamEvents]:
        """Where there is nothing more to read so far, and what is wrong as of then."""
        while self._last is None:
            await self._begun.wait()
        standing = [_of_system(DEGRADED, cause) for cause in self._causes.values()]
        return Bookmark(self._last), StreamEvents(standing)

    def close(self) -> None:
        """Ends every stream: its reader comes back to another dashboard."""
        self.is_closed = True
        if self._last is not None:
            self._append((), self._last.end)

    def _append(self, events: Sequence[StreamEvent], end: LogPosition) -> None:
        if self._last is not None:
            last, self._last = self._last, Stretch(end, events)
            last.following = self._last
            last.has_following.set()


def begun(position: LogPosition) -> StreamEvent:
    """The first event, by whose id a client goes on that is cut off before there was a step."""
    return an_event({}, name="begin", id_=position.log_id)


def step_event(entry: LogEntry) -> StreamEvent:
    """A step as an event; its id is that of its entry in the log."""
    told = {"order_id": entry.order_id, "n": entry.n, "step": entry.type, "at": event_time(entry.at)}
    more = {"reason": entry.reason, "by": entry.by}
    return an_event(told | {name: text for name, text in more.items() if text}, id_=entry.id)


def _of_system(name: str, cause: str) -> StreamEvent:
    return an_event({"cause": cause}, name=name)
