"""``GET /events``: everything that happens, as server-sent events or over a WebSocket."""

import asyncio
import re
import time
from typing import Final

from aiohttp import web

from dashboard.access import OperatorAccess
from dashboard.live.feed import AT_ONCE, RESET, Bookmark, Feed, Place, begun, step_event
from shared.errors import StoreUnavailable
from shared.http.auth import Access
from shared.http.event_stream import (
    HEARTBEAT_SECONDS,
    MEDIA_TYPE,
    EventReader,
    StreamEvents,
    answer_events,
    last_event_id,
    last_seen,
    unknown_id,
)
from shared.http.limits import Gate
from shared.http.problems import (
    FORBIDDEN,
    INVALID_PARAMETER,
    STORE_UNAVAILABLE,
    TOO_BUSY,
    TOO_MANY_ATTEMPTS,
    UNAUTHORIZED,
    FieldError,
    invalid,
)
from shared.http.routes import Parameter, Route
from shared.logs import get_logger
from shared.orders.redis.log import LogPosition, place_of

FIRST_LOOK_SECONDS: Final = 5.0
MOST_LAG_SECONDS: Final = 30.0
"""Who is further behind is cut off and goes on from the log: what lies in between is held for the slowest."""
CATCHING_UP_AT_ONCE: Final = 4
"""Each reads pages of a thousand steps; what it reads at present is let through between them."""
ID_PATTERN: Final = "^[0-9]{1,15}-[0-9]{1,9}$"
_ID: Final = re.compile(ID_PATTERN)
_STEPS: Final = Parameter(
    name="steps",
    description="`no` where it is enough to hear that there were some.",
    schema={"type": "string", "enum": ["yes", "no"]},
)

log = get_logger(__name__)


class LiveRoutes:
    """The route, over the feed; a bounded number of readers at a time."""

    def __init__(self, feed: Feed, access: OperatorAccess, gate: Gate) -> None:
        self._feed = feed
        self._access = access
        self._gate = gate
        self._catching_up = asyncio.Semaphore(CATCHING_UP_AT_ONCE)

    def table(self) -> tuple[Route, ...]:
        """What is served, and described."""
        return (
            Route(
                path="/events",
                handler=self.stream,
                access=Access.OPERATOR,
                name="followEverything",
                tag="state",
                summary="Follow everything that happens",
                description="Server-sent events: `begin` first; every step of every order, with the id of "
                "its entry in the log, behind which `Last-Event-ID` goes on; `system.degraded` and "
                "`system.recovered` with the cause, all that is wrong right at the start; `reset` where the "
                "log was trimmed past what the client saw last. A comment comes every 15 s while nothing "
                "happens. The same over a WebSocket, a JSON object each, where the client asks to upgrade. "
                "With `steps=no` an event `activity` a second says how many steps there were, instead of "
                "each.",
                meaning="What happens, one event each.",
                answer={"type": "string"},
                media_type=MEDIA_TYPE,
                parameters=(*last_event_id(ID_PATTERN), _STEPS),
                problems=(
                    *(INVALID_PARAMETER, UNAUTHORIZED, FORBIDDEN, TOO_MANY_ATTEMPTS),
                    *(STORE_UNAVAILABLE, TOO_BUSY),
                ),
            ),
        )

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """``GET /events``"""
        await self._access.check(request)
        seen, has_steps = _seen(request), _has_steps(request)
        with self._gate, self._feed.watched():
            try:
                async with asyncio.timeout(FIRST_LOOK_SECONDS):
                    await self._feed.latest()
            except TimeoutError:
                raise StoreUnavailable("the log of steps was not read in time") from None

            async def tell(reader: EventReader) -> None:
                try:
                    await self._tell(reader, seen, has_steps=has_steps)
                except StoreUnavailable as error:
                    log.info("a reader of events is sent away", reason=str(error))

            return await answer_events(request, tell)

    async def _tell(self, reader: EventReader, seen: LogPosition | None, *, has_steps: bool) -> None:
        """What came since, what is wrong, and what comes."""
        bookmark, standing = await self._feed.latest()
        place = None
        if has_steps:
            position = seen or bookmark.at.end
            await reader.send(StreamEvents([begun(position)]))
            place = place_of(position.log_id)
        while has_steps and seen is not None:
            (
                bookmark,
                standing,
            ) = await self._feed.latest()  # before each page: a slow reader holds nothing meanwhile
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


def _has_steps(request: web.Request) -> bool:
    sent = request.query.get(_STEPS.name, "yes")
    if sent not in _STEPS.schema["enum"]:
        raise invalid(INVALID_PARAMETER, [FieldError(field=_STEPS.name, message="must be yes or no")])
    return sent == "yes"


def _seen(request: web.Request) -> LogPosition | None:
    """The entry that the client has seen last."""
    sent = last_seen(request)
    if sent is not None and _ID.fullmatch(sent) is None:
        raise unknown_id()
    return None if sent is None else LogPosition(log_id=sent)
