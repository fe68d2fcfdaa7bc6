"""Reading orders in Redis, one by one and in lists, the newest first."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final, cast

from shared import keyspace
from shared.orders.model import OrderStatus, Trouble
from shared.orders.ports import Cursor, OrderFilter, OrderPage
from shared.orders.records import OrderRecord
from shared.orders.redis.reading import fetch_notification, fetch_records
from shared.redis.client import Redis, store_deadline

PAGE_BYTES: Final = 1_048_576
BYTES_PER_ITEM: Final = 96
BYTES_PER_PRICE: Final = 48
BYTES_BESIDE_ITEMS: Final = 2_048
"""What an item, its price without the product's name, and all the rest of an order take as JSON at most."""
RECORDS_PER_READ: Final = 20
"""Reading these holds the loop for some milliseconds where they have 100 items each."""
MOST_PLACES: Final = 5_000
"""In one look at an index."""
MOST_LOOKED_AT: Final = 1_000
"""Orders, for one page of those that are picked from among others."""
FIRST_ID: Final = "0"
"""No id comes before it."""

Place = tuple[int, str]
"""Where an order stands by time of acceptance: microseconds since the epoch, then the id."""
Places = list[Place]


class RedisOrderReader:
    """Reads orders. Methods raise StoreUnavailable."""

    def __init__(self, redis: Redis, *, timeout_seconds: float) -> None:
        self._redis = redis
        self._timeout_seconds = timeout_seconds

    async def get(self, order_id: str) -> OrderRecord | None:
        (record,) = await self.get_many([order_id])
        return record

    async def notification(self, order_id: str) -> Mapping[str, str]:
        async with store_deadline(self._timeout_seconds):
            return await fetch_notification(self._redis, order_id)

    async def get_many(self, order_ids: Sequence[str]) -> list[OrderRecord | None]:
        async with store_deadline(self._timeout_seconds):
            return await fetch_records(self._redis, order_ids)

    async def _newest(self, index: str, limit: int, after: Cursor | None, wanted: OrderFilter) -> Places:
        """Up to ``limit`` places (time, id) that come after the cursor, newest first."""
        bounds = [] if after is None else [after.accepted_at]
        bounds += [] if wanted.until is None else [wanted.until - 1]
        newest = min(bounds) if bounds else "+inf"
        oldest = "-inf" if wanted.since is None else wanted.since
        places: Places = []
        offset, number = 0, limit
        while len(places) < limit:
            async with store_deadline(self._timeout_seconds):
                chunk = await self._redis.zrange(
                    index,
                    newest,
                    oldest,
                    desc=True,
                    byscore=True,
                    offset=offset,
                    num=number,
                    withscores=True,
                )
            found = places_of(chunk)
            places += [
                place for place in found if after is None or place < (after.accepted_at, after.order_id)
            ]
            if len(found) < number:
                break
            offset, number = offset + number, min(2 * number, MOST_PLACES)  # many may share one time
        return places[:limit]

    async def list(self, wanted: OrderFilter, limit: int, after: Cursor | None) -> OrderPage:
        """As the port has it. Every order is in the index of exactly one status; the indexes are merged here.

        An order that is decided in between may be found in two of them, and is shown once. Those of a
        customer have an index of their own, from which those of a status are picked. A cursor names no
        order of others that was passed over.
        """

        def is_wanted(record: OrderRecord) -> bool:
            if wanted.customer is None:
                return not (wanted.unowned and record.customer)
            return wanted.status in (None, record.status) and wanted.trouble in (None, record.trouble)

        indexes = [keyspace.orders_of(wanted.customer)] if wanted.customer else _indexes(wanted)
        standing = (wanted.trouble or wanted.status) if wanted.customer else None
        page, limit = _Page(limit), max(limit, RECORDS_PER_READ)
        while True:
            pages = await asyncio.gather(*(self._newest(each, limit + 1, after, wanted) for each in indexes))
            newest = sorted({place for page in pages for place in page}, reverse=True)
            is_whole = await self._fill(page, newest[:limit], is_wanted, standing)
            if is_whole and len(newest) <= limit:
                return OrderPage(orders=page.orders, next_cursor=None)
            if not is_whole or page.is_full:
                return OrderPage(orders=page.orders, next_cursor=_after(page.shown))
            after = _after(page.last)
            if page.looked_at >= MOST_LOOKED_AT and wanted.customer:
                return OrderPage(orders=page.orders, next_cursor=after)
            if page.looked_at >= MOST_LOOKED_AT and newest[limit][0] != page.last[0]:
                return OrderPage(orders=page.orders, next_cursor=_after((page.last[0], FIRST_ID)))

    async def _fill(
        self,
        page: "_Page",
        places: Places,
        is_wanted: Callable[[OrderRecord], bool],
        standing: OrderStatus | Trouble | None,
    ) -> bool:
        """Puts the orders at these places into a page; False where it had no room for the next one.

        Of those that are not ``standing`` there, by its index, no record is read.
        """
        for begin in range(0, len(places), RECORDS_PER_READ):
            part = places[begin : begin + RECORDS_PER_READ]
            ids = [order_id for _, order_id in part]
            chosen = ids if standing is None else await self._standing(ids, standing)
            records = dict(zip(chosen, await self.get_many(chosen), strict=True))
            for place in part:
                record = records.get(place[1])
                wanted = record if record is not None and is_wanted(record) else None
                if not page.take(place, wanted):
                    return False
        return True

    async def _standing(self, order_ids: Sequence[str], where: OrderStatus | Trouble) -> Sequence[str]:
        """Those of them that are in this index."""
        async with store_deadline(self._timeout_seconds):
            scores = await self._redis.zmscore(keyspace.orders_in(where), [*order_ids])
        return [each for each, score in zip(order_ids, scores, strict=True) if score is not None]


class _Page:
    """What has been found for a page, and the places that were shown and looked at last."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._room = PAGE_BYTES
        self.orders: list[OrderRecord] = []
        self.shown: Place = (0, FIRST_ID)
        self.last = self.shown
        self.looked_at = 0

    @property
    def is_full(self) -> bool:
        return len(self.orders) >= self._limit

    def take(self, place: Place, record: OrderRecord | None) -> bool:
        """Whether there is room for the order at this place; None is passed over."""
        if record is not None:
            self._room -= _json_bytes(record)
            if self._room < 0 or self.is_full:
                return False
            self.orders.append(record)
            self.shown = place
        self.last = place
        self.looked_at += 1
        return True


def _after(place: Place) -> Cursor:
    return Cursor(accepted_at=place[0], order_id=place[1])


def _indexes(wanted: OrderFilter) -> Sequence[str]:
    """The indexes that have these orders, whosever they are."""
    if wanted.trouble:  # only accepted orders are in one
        is_one = wanted.status in (None, OrderStatus.ACCEPTED)
        return [keyspace.orders_in(wanted.trouble)] if is_one else []
    return [keyspace.orders_in(each) for each in ([wanted.status] if wanted.status else OrderStatus)]


def _json_bytes(record: OrderRecord) -> int:
    """What an order takes in a list at most; a sign of a name takes two bytes where it is escaped."""
    lines = record.prices.lines if record.prices is not None else ()
    names = sum(BYTES_PER_PRICE + 2 * len(line.name.encode()) for line in lines if line is not None)
    return BYTES_BESIDE_ITEMS + BYTES_PER_ITEM * len(record.order.items) + names


def places_of(scored: object) -> Places:
    """What `ZRANGE … WITHSCORES` answers."""
    return [(int(score), order_id) for order_id, score in cast(list[tuple[str, float]], scored)]
