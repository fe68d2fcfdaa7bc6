"""``GET /orders/{id}/events``: the steps of an order as server-sent events, as they happen.

The number of a step in its order is the id of its event. What a client has yet to see is read from the
order's own record, so that it misses none and sees none twice, whatever was trimmed from the log meanwhile;
the log says whose record to look at.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from aiohttp import web

from shared.errors import StoreUnavailable
from shared.history.ownership import may_see
from shared.http.auth import caller_of
from shared.http.event_stream import (
    HEARTBEAT_SECONDS,
    EventReader,
    StreamEvents,
    an_event,
    answer_events,
    last_seen,
    unknown_id,
)
from shared.http.limits import Gate
from shared.http.problems import NOT_FOUND, Problem
from shared.logs import get_logger
from shared.messages import is_identifier
from shared.messaging.waiting import repeating
from shared.orders.model import FINAL
from shared.orders.ports import OrderReader
from shared.orders.records import OrderRecord
from shared.orders.redis.log import LogPosition, StepLog

POLL_SECONDS: Final = 0.25
AT_ONCE: Final = 1_000
LINGER_SECONDS: Final = 5.0
"""So long an order that is at its end may yet have another step, such as that its customer was told."""

log = get_logger(__name__)


class StepFeed:
    """Tells who watches an order that something has happened to it."""

    def __init__(self, steps: StepLog) -> None:
        self._log = steps
        self._position: LogPosition | None = None
        self._watched: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._somebody = asyncio.Event()
        self.is_closed = False

    async def run(self) -> None:
        """Follows the log while anybody watches, until cancelled."""
        await repeating(self.follow, POLL_SECONDS, what="following the steps of orders")

    async def follow(self) -> None:
        """Looks once. Where the log was trimmed past what was read last, everybody looks again."""
        if not self._watched:
            self._position = None
            self._somebody.clear()
            await self._somebody.wait()
        if self._position is None:
            self._position = await self._log.end()
            self._tell(list(self._watched))
        page = await self._log.read(self._position, AT_ONCE)
        self._position = page.end if page else None
        self._tell([entry.order_id for entry in page.entries] if page else list(self._watched))

    @contextmanager
    def watching(self, order_id: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever there may be news of this order."""
        news = asyncio.Event()
        self._watched[order_id].add(news)
        self._somebody.set()
        try:
            yield news
        finally:
            self._watched[order_id].discard(news)
            if not self._watched[order_id]:
                del self._watched[order_id]

    def close(self) -> None:
        """Ends every stream: its client comes back to another gateway."""
        self.is_closed = True
        self._tell(list(self._watched))

    def _tell(self, order_ids: Sequence[str]) -> None:
        for order_id in order_ids:
            for news in self._watched.get(order_id, ()):
                news.set()


class OrderEvents:
    """The route; a bounded number of streams at a time."""

    def __init__(self, orders: OrderReader, feed: StepFeed, gate: Gate) -> None:
        self._orders = orders
        self._feed = feed
        self._gate = gate

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """``GET /orders/{id}/events``"""
        order_id, seen = request.match_info["id"], _seen(request)
        with self._gate, self._feed.watching(order_id) as news:
            record = await self._orders.get(order_id) if is_identifier(order_id) else None
            if record is None or not may_see(caller_of(request), record.customer):
                raise Problem(NOT_FOUND, "There is no such order.")
            if record.status in FINAL and seen >= record.version:
                return web.Response(status=204)  # by which browsers know that there is no more
            return await answer_events(request, lambda reader: self._tell(reader, record, seen, news))

    async def _tell(self, reader: EventReader, record: OrderRecord, seen: int, news: asyncio.Event) -> None:
        quiet = 0.0
        while not self._feed.is_closed:
            if record.version > seen:
                await reader.send(_events(record, seen))
                seen, quiet = record.version, 0.0
            if record.status in FINAL and quiet >= LINGER_SECONDS:
                await reader.send(StreamEvents([an_event({"status": record.status}, name="end")]))
                return
            pause = LINGER_SECONDS if record.status in FINAL else HEARTBEAT_SECONDS
            if not await reader.wait(news, pause):
                quiet += pause
            news.clear()
            record = await self._read_again(record)

    async def _read_again(self, record: OrderRecord) -> OrderRecord:
        """The record as it is now; as it was where the store is away or it was removed meanwhile."""
        try:
            return await self._orders.get(record.order.id) or record
        except StoreUnavailable as error:
            log.warning("events wait for the store", reason=str(error))
            return record


def _seen(request: web.Request) -> int:
    """The number of the step that the client has seen last."""
    sent = last_seen(request)
    if sent is None:
        return 0
    if not (sent.isascii() and sent.isdecimal() and len(sent) < 10):
        raise unknown_id()
    return int(sent)


def _events(record: OrderRecord, seen: int) -> StreamEvents:
    """The steps behind the first ones."""
    return StreamEvents([an_event(_data(record, n), id_=str(n)) for n in range(seen + 1, record.version + 1)])


def _data(record: OrderRecord, n: int) -> dict[str, Any]:
    step = record.timeline[n - 1]
    told = {"order_id": record.order.id, "n": n, "step": step.step, "at": step.at}
    more = {"reason": step.reason, "attempts": step.attempts, "by": step.by}
    return told | {name: value for name, value in more.items() if value is not None}
