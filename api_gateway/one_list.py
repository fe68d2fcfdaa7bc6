"""Orders as one list, although those that have come to their end move from the store to the ledger.

An order leaves the store only once the ledger has all of it, and may be in both for long. So the store is
read first, then the ledger: an order that is not in the former any more is in the latter. What the ledger
shows may be behind: a row whose order has a record is looked at once more, and the record counts. Both lists
have the same places, (accepted at, id), so pages part them in the same way, whatever moves meanwhile.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

import orjson

from shared.breaker import Breaker
from shared.errors import ServiceUnavailable
from shared.history.listing import BoundedPage, order_cursor, place_of_cursor
from shared.history.schemas import as_json, order_summary
from shared.http.client import AskedService, ServiceAnswer
from shared.http.problems import TOO_BUSY
from shared.messages import epoch_microseconds, event_time
from shared.orders.ports import Cursor, OrderFilter, OrderPage, OrderReader

TOLERATED_FAILURES: Final = 2
PATIENCE_SECONDS: Final = 1.0
"""For an answer of the ledger: a hundred times what one takes."""
LESS_PATIENCE_SECONDS: Final = 0.25
"""Once it has not answered, until it does again."""
LONGEST_SECONDS: Final = 1.0
"""For a page that is yet to be filled: after that it is a short one."""
LEDGER: Final = "ledger"

Headers = Mapping[str, str]
Place = tuple[int, str]
Turn = Callable[[], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class _Rows:
    """Orders as the ledger shows them, by their places, newest first; it has more after the cursor."""

    views: Mapping[Place, Any]
    next_cursor: Cursor | None


class LedgerOrders:
    """The ledger's orders, asked for on behalf of a client. Methods raise ServiceUnavailable.

    One that cannot answer is left alone for half a second, as one that cannot be reached is. One that is
    frozen is waited for once, and then less long, until it answers again.
    """

    def __init__(self, service: AskedService, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._service = service
        self._breaker = Breaker(tolerates=TOLERATED_FAILURES)
        self._patience_seconds = patience_seconds
        self._is_silent = False

    async def get(self, order_id: str, headers: Headers) -> ServiceAnswer | None:
        """The answer about one order, None where there is none that the client may see."""
        return await self._ask(f"/orders/{order_id}", headers)

    async def list(self, wanted: OrderFilter, limit: int, after: Cursor | None, headers: Headers) -> _Rows:
        """As the store's list."""
        asked = {
            "status": wanted.status,
            "trouble": wanted.trouble,
            "customer": wanted.customer,
            "from": _instant(wanted.since),
            "to": _instant(wanted.until),
            "limit": limit,
            "cursor": after and order_cursor(after.accepted_at, after.order_id),
        }
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        answer = await self._ask(f"/orders?{query}", headers)
        try:
            told = orjson.loads(answer.body if answer else b"")
            more = told["next_cursor"]
            views = {_place(view): view for view in told["orders"]}
            return _Rows(views, None if more is None else place_of_cursor(more))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise ServiceUnavailable(LEDGER, "it answered what makes no sense") from error

    async def _ask(self, path: str, headers: Headers) -> ServiceAnswer | None:
        if not self._breaker.try_now():
            raise ServiceUnavailable(LEDGER, self._breaker.reason() or "it is away")
        seconds = LESS_PATIENCE_SECONDS if self._is_silent else self._patience_seconds
        try:
            async with asyncio.timeout(seconds):
                answer = await self._service.send("GET", path, headers=headers)
        except TimeoutError:
            self._is_silent, reason = True, f"it did not answer within {seconds:g} s"
            self._breaker.failed(reason)
            raise ServiceUnavailable(LEDGER, reason) from None
        self._is_silent = False
        if answer.status in (200, 404):
            self._breaker.succeeded()
            return answer if answer.status == 200 else None
        reason = f"it answered {answer.status}"
        if answer.status >= 500 and not _is_busy(answer):
            self._breaker.failed(reason)
        raise ServiceUnavailable(LEDGER, reason)


def _is_busy(answer: ServiceAnswer) -> bool:
    """Whether it turned this client away, who asks too much at once, and no other."""
    return TOO_BUSY.uri.encode() in answer.body


class OneList:
    """The orders of store and ledger, each once, newest first. Methods raise StoreUnavailable."""

    def __init__(self, orders: OrderReader, ledger: LedgerOrders) -> None:
        self._orders = orders
        self._ledger = ledger

    async def page(
        self, wanted: OrderFilter, limit: int, after: Cursor | None, *, headers: Headers, turn: Turn
    ) -> Mapping[str, Any]:
        """A page as it is answered. While the ledger is away it has what the store has, and says so.

        What holds the loop for long is done within a ``turn``; the ledger is waited for outside.
        """
        page, began = BoundedPage(limit), time.monotonic()
        missing: dict[str, Any] = {}
        while True:
            async with turn():
                kept = await self._orders.list(wanted, limit, after)
            rows = _Rows({}, None)
            if not missing:
                try:
                    rows = await self._ledger.list(wanted, limit, after, headers)
                except ServiceUnavailable as error:
                    missing = {"complete": False, "note": f"Older orders may be missing. {error}."}
            async with turn():
                last, is_whole = await self._fill(page, wanted, kept, rows, after)
            after = last
            if last is None or not is_whole or page.is_full or time.monotonic() - began > LONGEST_SECONDS:
                cursor = None if last is None else order_cursor(last.accepted_at, last.order_id)
                return {"orders": page.shown, "next_cursor": cursor, **missing}

    async def _fill(
        self,
        page: BoundedPage,
        wanted: OrderFilter,
        kept: OrderPage,
        rows: _Rows,
        after: Cursor | None,
    ) -> tuple[Cursor | None, bool]:
        """Puts in what both are known to show down to the same place.

        Gives where to go on, None at the end, and whether all of it had room.
        """
        ends = [_key(end) for end in (kept.next_cursor, rows.next_cursor) if end is not None]
        until = max(ends, default=None)
        views = {
            (record.accepted_at_microseconds, record.order.id): as_json(order_summary(record))
            for record in kept.orders
        }
        known = {order_id for _, order_id in views}
        others = [place for place in rows.views if place[1] not in known]
        views |= await self._looked_at_again(wanted, rows, others)
        for place in sorted(views, reverse=True):
            if until is not None and place < until:
                break
            if not page.take(views[place]):
                return after, False
            after = _cursor(place)
        return None if until is None else _cursor(until), True

    async def _looked_at_again(
        self, wanted: OrderFilter, rows: _Rows, places: Sequence[Place]
    ) -> Mapping[Place, Any]:
        """What the ledger shows at these places, as it stands in the store where that has it.

        A record that is at another place is another order of the same id, and has its place in the list.
        """
        records = await self._orders.get_many([order_id for _, order_id in places])
        found = {}
        for place, record in zip(places, records, strict=True):
            if record is None:
                found[place] = rows.views[place]
            elif record.accepted_at_microseconds == place[0] and wanted.admits(record):
                found[place] = as_json(order_summary(record))
        return found


def _key(cursor: Cursor) -> Place:
    return cursor.accepted_at, cursor.order_id


def _cursor(place: Place) -> Cursor:
    return Cursor(accepted_at=place[0], order_id=place[1])


def _place(view: Mapping[str, Any]) -> Place:
    return epoch_microseconds(datetime.fromisoformat(view["accepted_at"])), view["id"]


def _instant(microseconds: int | None) -> str | None:
    return None if microseconds is None else event_time(microseconds).isoformat()
