"""``GET /events``: everything that happens, as server-sent events or over a WebSocket."""

import asyncio
import re
from typing import Final

from aiohttp import web

from dashboard.access import OperatorAccess
from dashboard.live.feed import Feed
from dashboard.live.telling import Teller
from shared.errors import StoreUnavailable
from shared.http.auth import Access
from shared.http.event_stream import (
    MEDIA_TYPE,
    EventReader,
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
from shared.orders.redis.log import LogPosition

FIRST_LOOK_SECONDS: Final = 5.0
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
        self._teller = Teller(feed)

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
                    await self._teller.tell(reader, seen, has_steps=has_steps)
                except StoreUnavailable as error:
                    log.info("a reader of events is sent away", reason=str(error))

            return await answer_events(request, tell)


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
