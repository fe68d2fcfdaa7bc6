"""Telling a reader of events everything once and in order: first from the log, then from the feed."""

import asyncio
import time
from typing import Final

from dashboard.live.feed import AT_ONCE, RESET, Bookmark, Feed, Place, begun, step_event
from shared.http.event_stream import HEARTBEAT_SECONDS, EventReader, StreamEvents
from shared.orders.redis.log import LogPosition, place_of

MOST_LAG_SECONDS: Final = 30.0
"""Who is further behind is cut off and goes on from the log: what lies in between is held for the slowest."""
CATCHING_UP_AT_ONCE: Final = 4
"""Each reads pages of a thousand steps; what it reads at present is let through between them."""


class Teller:
    """Tells readers, each at its own speed."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._catching_up = asyncio.Semaphore(CATCHING_UP_AT_ONCE)

    async def tell(self, reader: EventReader, seen: LogPosition | None, *, has_steps: bool) -> None:
        """What came since, what is wrong, and what comes; the reader has seen the entry ``seen`` last.

        Raises ConnectionError or TimeoutError once the reader is gone or too slow, and StoreUnavailable.
        """
        bookmark, standing = await self._feed.latest()
        place = None
        if has_steps:
            position = seen or bookmark.at.end
            await reader.send(StreamEvents([begun(position)]))
            place = place_of(position.log_id)
        while has_steps and seen is not None:
            # Before each page: what comes after it is in the feed, and a slow reader holds nothing meanwhile.
            bookmark, standing = await self._feed.latest()
            async with self._catching_up:
                page = await self._feed.steps.read(seen, AT_ONCE)
            if page is None:
                await reader.send(StreamEvents([RESET]))
                place = place_of(bookmark.at.end.log_id)
                break
            await reader.send(StreamEvents([step_event(entry) for entry in page.entries]))
            place = place_of(page.end.log_id)
            seen = page.end if page.read == AT_ONCE else None
        await reader.send(standing)
        await self._go_on(reader, bookmark, place)

    async def _go_on(self, reader: EventReader, bookmark: Bookmark, place: Place | None) -> None:
        """``place`` is that of the step that the reader had last; None where it wants none."""
        while not self._feed.is_closed:
            await reader.wait(bookmark.at.has_following, HEARTBEAT_SECONDS)
            while (following := bookmark.at.following) is not None:
                if time.monotonic() - following.read_at > MOST_LAG_SECONDS:
                    raise TimeoutError("it is too slow")
                if place is None:
                    events = following.without_steps
                else:
                    is_new = place_of(bookmark.at.end.log_id) >= place
                    events = following.all if is_new else following.after(place)
                bookmark.at = following
                if events:
                    await reader.send(events)
