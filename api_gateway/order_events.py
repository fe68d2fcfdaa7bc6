"""``GET /orders/{id}/events``: the steps of an order as server-sent events, as they happen.

The number of a step in its order is the id of its event. What a client has yet to see is read from the
order's own record, so that it misses none and sees none twice, whatever was trimmed from the log meanwhile;
the log says whose record to look at.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol

import orjson
from aiohttp import hdrs, web

from shared.errors import StoreUnavailable
from shared.history.ownership import may_see
from shared.http.auth import caller_of
from shared.http.edge import begin_answer
from shared.http.limits import Gate
from shared.http.problems import INVALID_PARAMETER, NOT_FOUND, FieldError, Problem, invalid
from shared.logs import get_logger
from shared.messages import is_identifier
from shared.messaging.waiting import JITTER, repeating
from shared.orders.model import FINAL
from shared.orders.ports import OrderReader
from shared.orders.records import OrderRecord
from shared.orders.redis.log import LogPage, LogPosition

POLL_SECONDS: Final = 0.25
AT_ONCE: Final = 1_000
HEARTBEAT_SECONDS: Final = 15.0
LINGER_SECONDS: Final = 5.0
"""So long an order that is at its end may yet have another step, such as that its customer was told."""
WRITE_SECONDS: Final = 10.0
"""A client that takes nothing for so long is cut off, and resumes where it was."""
LAST_EVENT_ID: Final = "Last-Event-ID"
STREAM: Final = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}

log = get_logger(__name__)


class Steps(Protocol):
    """The log of all steps. Methods raise StoreUnavailable."""

    async def end(self) -> LogPosition:
        """Where it ends now."""

    async def read(self, after: LogPosition, limit: int) -> LogPage | None:
        """The next entries. None where the one that was read last is not there any more."""


class StepFeed:
    """Tells who watches an order that something has happened to it."""

    def __init__(self, steps: Steps) -> None:
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
            response = await begin_answer(request, STREAM)
            if request.method == hdrs.METH_HEAD:
                return response
            await _write(response, f"retry: {JITTER.randrange(1_000, 3_000)}\n\n")
            try:
                await self._tell(response, record, seen, news)
            except (ConnectionError, TimeoutError) as error:
                log.info("a reader of events is gone", order_id=order_id, reason=str(error) or "it took none")
                response.force_close()
            return response

    async def _tell(
        self, response: web.StreamResponse, record: OrderRecord, seen: int, news: asyncio.Event
    ) -> None:
        quiet = 0.0
        while not self._feed.is_closed:
            if record.version > seen:
                await _write(response, _events(record, seen))
                seen, quiet = record.version, 0.0
            if record.status in FINAL and quiet >= LINGER_SECONDS:
                end = orjson.dumps({"status": record.status}).decode()
                await _write(response, f"event: end\ndata: {end}\n\n")
                return
            pause = LINGER_SECONDS if record.status in FINAL else HEARTBEAT_SECONDS
            try:
                async with asyncio.timeout(pause):
                    await news.wait()
            except TimeoutError:
                quiet += pause
                await _write(response, ":\n\n")
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
    sent = request.headers.get(LAST_EVENT_ID, "0")
    if not (sent.isascii() and sent.isdecimal() and len(sent) < 10):
        raise invalid(INVALID_PARAMETER, [FieldError(field=LAST_EVENT_ID, message="is no id of an event")])
    return int(sent)


def _events(record: OrderRecord, seen: int) -> str:
    """The steps behind the first ones, each as an event."""
    return "".join(f"id: {n}\ndata: {_data(record, n)}\n\n" for n in range(seen + 1, record.version + 1))


def _data(record: OrderRecord, n: int) -> str:
    step = record.timeline[n - 1]
    told = {"order_id": record.order.id, "n": n, "step": step.step, "at": step.at}
    more = {"reason": step.reason, "attempts": step.attempts, "by": step.by}
    known = {name: value for name, value in more.items() if value is not None}
    return orjson.dumps({**told, **known}, option=orjson.OPT_UTC_Z).decode()


async def _write(response: web.StreamResponse, text: str) -> None:
    async with asyncio.timeout(WRITE_SECONDS):
        await response.write(text.encode())
