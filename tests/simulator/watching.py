"""A client of the dashboard's stream of events, which goes on where it was cut off, and bugs of streams."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from aiohttp import web

from dashboard.live import telling
from dashboard.live.feed import RESET, Stretch, begun, step_event
from shared.errors import DependencyUnavailable
from shared.http.event_stream import StreamEvent, StreamEvents
from shared.orders.redis.log import LogPosition, place_of
from tests.simulator.desk import Dashboard
from tests.simulator.planted import Planting, replaced
from tests.simulator.processes import Process
from tests.simulator.trace import Trace

LONGEST_PAUSE_SECONDS: Final = 2.0
LONGEST_STREAM_SECONDS: Final = 20.0
LONGEST_WAY_SECONDS: Final = 0.2
BEGIN: Final = "begin"

Open = Callable[[], Sequence[tuple[Process, Dashboard]]]


class Watcher:
    """Keeps what it was told. Whatever it cannot take is cut off, and asked for again by the last id."""

    def __init__(self, dashboards: Open, dice: random.Random, trace: Trace) -> None:
        self.seen: list[str] = []
        """Ids of steps since the last reset, in the order in which they came."""
        self.faults: list[str] = []
        self._dashboards = dashboards
        self._dice = dice
        self._trace = trace
        self._last = ""

    async def run(self) -> None:
        """Watches for ever."""
        while True:
            await asyncio.sleep(self._dice.random() * LONGEST_PAUSE_SECONDS)
            if found := self._dashboards():
                await self._watch(*self._dice.choice(found))

    async def _watch(self, process: Process, dashboard: Dashboard) -> None:
        connection = Connection(self.take, self._dice)
        telling = process.start(dashboard.watch(connection, self._last))
        try:
            await asyncio.wait({telling}, timeout=self._dice.random() * LONGEST_STREAM_SECONDS)
        finally:
            connection.is_cut = True
            telling.cancel()
        error = telling.exception() if telling.done() and not telling.cancelled() else None
        if error is not None and not isinstance(error, EXPECTED):
            self.faults.append(f"the stream of events broke: {error!r}")

    def take(self, event: StreamEvent) -> None:
        """One event, as it arrives."""
        self._trace.note(f"told {event.name} {event.id} {event.body}")
        if event is RESET:
            self.seen.clear()
        elif event.id and event.name != BEGIN:
            self.seen.append(event.id)
        self._last = event.id or self._last

    def has_seen(self, last: str) -> bool:
        """Whether there is nothing to wait for."""
        return self._last == last

    def misses(self, log: Sequence[str]) -> list[str]:
        """What is wrong with what it saw, given the ids that the log has."""
        twice = {each for each in self.seen if self.seen.count(each) > 1}
        expected = log[log.index(self.seen[0]) :] if self.seen and self.seen[0] in log else self.seen
        is_sorted = sorted(self.seen, key=place_of) == self.seen
        return [
            *self.faults,
            *(f"told twice by the stream: {each}" for each in sorted(twice)),
            *(f"not told by the stream: {each}" for each in expected if each not in self.seen),
            *(() if twice or is_sorted else ("told out of order by the stream",)),
        ]


EXPECTED: Final = (DependencyUnavailable, ConnectionError, TimeoutError)


class Connection:
    """See EventReader; what was sent after the cut is lost, and of what was sent at once a part may come."""

    def __init__(self, take: Callable[[StreamEvent], None], dice: random.Random) -> None:
        self.is_cut = False
        self._take = take
        self._dice = dice

    @property
    def response(self) -> web.StreamResponse:
        """See EventReader."""
        raise NotImplementedError

    async def send(self, events: StreamEvents) -> None:
        """See EventReader."""
        for event in events:
            if self._dice.random() < 0.2:
                await asyncio.sleep(self._dice.random() * LONGEST_WAY_SECONDS)
            if self.is_cut:
                raise ConnectionResetError("the client has gone")
            self._take(event)

    async def wait(self, news: asyncio.Event, seconds: float) -> bool:
        """See EventReader."""
        try:
            async with asyncio.timeout(seconds):
                await news.wait()
        except TimeoutError:
            return False
        return True

    async def end(self, *, is_gone: bool) -> None:
        """See EventReader."""


# --- bugs, planted one by one; see planted ------------------------------------------------------------------


async def _take_the_feed_last(self: Any, reader: Any, seen: LogPosition | None, *, has_steps: bool) -> None:
    """What comes between the last page and the look at the feed is in neither."""
    position = seen or (await self._feed.latest())[0].at.end
    await reader.send(StreamEvents([begun(position)]))
    while seen is not None:
        page = await self._feed.steps.read(seen, 2)
        if page is None:
            await reader.send(StreamEvents([RESET]))
            break
        await reader.send(StreamEvents([step_event(entry) for entry in page.entries]))
        seen = page.end if page.read else None
    bookmark, _ = await self._feed.latest()
    await self._go_on(reader, bookmark, place_of(bookmark.at.end.log_id))


STREAM_BUGS: Final[Mapping[str, Planting]] = {
    "the feed is looked at after the log": replaced(telling.Teller, "tell", _take_the_feed_last),
    "what was read from the log is told again": replaced(Stretch, "after", lambda self, _: self.all),
}
