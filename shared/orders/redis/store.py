"""Orders and the outbox in Redis."""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, Final, cast

from shared import keyspace
from shared.errors import StoreUnavailable
from shared.messages import content_fingerprint, encode_order, request_fingerprint
from shared.orders.model import OrderStatus, Trouble
from shared.orders.placement import (
    Acceptance,
    Accepted,
    BrokenProduct,
    Duplicate,
    KeyReused,
    OutboxFull,
    OwnScheduleFull,
    Placement,
    PlacementResult,
    PriceChanged,
    Replayed,
    ScheduleFull,
    SeveralCurrencies,
    UnknownProducts,
    unpriced_skus,
)
from shared.orders.ports import Cursor, OrderFilter, OrderPage
from shared.orders.records import OrderRecord
from shared.orders.redis.reading import fetch_notification, fetch_records, readable_prices
from shared.orders.redis.scripts import load
from shared.redis.client import Redis, store_deadline
from shared.redis.coalescing import CoalescedScript
from shared.redis.scripts import ScriptCall

PAGE_BYTES: Final = 1_048_576
BYTES_PER_ITEM: Final = 96
BYTES_PER_PRICE: Final = 48
BYTES_BESIDE_ITEMS: Final = 2_048
"""What an item, its price without the product's name, and all the rest of an order take as JSON at most."""
MOST_SCHEDULED: Final = 100_000
MOST_SCHEDULED_OF_ONE: Final = 100
"""Orders that wait for their time, and those of one customer."""
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


class RedisOrderStore:
    """Accepts orders exactly once and reads them back. Methods raise StoreUnavailable."""

    def __init__(
        self,
        redis: Redis,
        *,
        timeout_seconds: float,
        claim_ttl_seconds: int,
        outbox_limit: int,
        refuses_unknown_products: bool = False,
    ) -> None:
        self._redis = redis
        self._timeout_seconds = timeout_seconds
        self._refuses_unknown_products = refuses_unknown_products
        self._claim_ttl_seconds = claim_ttl_seconds
        self._outbox_limit = outbox_limit
        self._token, self._numbers = secrets.token_hex(12), count()
        self._accept = CoalescedScript(load("accept"), redis, timeout_seconds=timeout_seconds)

    async def accept(self, placement: Placement) -> Acceptance:
        outbox_limit = self._outbox_limit if placement.has_room else 0
        token = f"{self._token}{next(self._numbers)}"
        call = acceptance_call(
            placement,
            token,
            self._claim_ttl_seconds,
            outbox_limit,
            refuses_unknown_products=self._refuses_unknown_products,
        )
        return _acceptance(await self._accept.run(call), placement)

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
            found = _places(chunk)
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


class RedisOutbox:
    """Orders that are accepted and not known to be in a queue. Methods raise StoreUnavailable."""

    def __init__(self, redis: Redis, *, timeout_seconds: float) -> None:
        self._redis = redis
        self._timeout_seconds = timeout_seconds

    async def size(self) -> int:
        """How many orders wait."""
        async with store_deadline(self._timeout_seconds):
            return int(await self._redis.zcard(keyspace.OUTBOX))

    async def remove(self, order_ids: Sequence[str]) -> None:
        async with store_deadline(self._timeout_seconds):
            await self._redis.zrem(keyspace.OUTBOX, *order_ids)

    async def older_than(
        self, age_seconds: float, after_microseconds: int, limit: int
    ) -> list[tuple[str, int]]:
        async with store_deadline(self._timeout_seconds):
            seconds, microseconds = await self._redis.time()
            until = seconds * 1_000_000 + microseconds - round(age_seconds * 1_000_000)
            found = await self._redis.zrange(
                keyspace.OUTBOX,
                f"({after_microseconds}",
                until,
                byscore=True,
                offset=0,
                num=limit,
                withscores=True,
            )
        return [(order_id, accepted_at) for accepted_at, order_id in _places(found)]


def _json_bytes(record: OrderRecord) -> int:
    """What an order takes in a list at most; a sign of a name takes two bytes where it is escaped."""
    lines = record.prices.lines if record.prices is not None else ()
    names = sum(BYTES_PER_PRICE + 2 * len(line.name.encode()) for line in lines if line is not None)
    return BYTES_BESIDE_ITEMS + BYTES_PER_ITEM * len(record.order.items) + names


def _places(scored: object) -> Places:
    return [(int(score), order_id) for order_id, score in cast(list[tuple[str, float]], scored)]


def _acceptance(answer: list[Any], placement: Placement) -> Acceptance:
    order = placement.order
    match answer:
        case ["new", at, text, begins]:
            prices, not_before = readable_prices(order, text), int(begins) if begins else None
            accepted = Accepted(order_id=order.id, prices=prices, not_before=not_before)
            return Acceptance(result=accepted, accepted_at=None if begins else int(at))
        case ["replay", first_id, media_type, waiting, text, begins]:
            replayed = Replayed(
                order_id=first_id,
                media_type=media_type,
                prices=readable_prices(order, text),
                not_before=int(begins) if begins else None,
            )
            return Acceptance(result=replayed, waiting=waiting == "1")
        case ["too_many", most]:
            raise ScheduleFull(f"{int(most):,} orders wait for their time already, which is the most")
        case ["own_too_many", most]:
            raise OwnScheduleFull(f"{int(most):,} of your orders wait for their time, which is the most")
        case ["full"]:
            raise OutboxFull("too many orders wait for a broker")
    return Acceptance(result=_refusal(answer, placement))


def _refusal(answer: list[Any], placement: Placement) -> PlacementResult:
    order = placement.order
    match answer:
        case ["reused", first_id]:
            return KeyReused(order_id=first_id)
        case ["duplicate", status, known, owner]:
            return Duplicate(
                order_id=order.id,
                status=OrderStatus(status) if status else None,
                same_content=known
                == request_fingerprint(placement.sent or order, placement.expected, placement.not_before),
                customer=owner or None,
            )
        case ["currencies", *currencies]:
            return SeveralCurrencies(order_id=order.id, currencies=currencies)
        case ["unknown_products", text]:
            return UnknownProducts(order_id=order.id, skus=unpriced_skus(order, readable_prices(order, text)))
        case ["broken_product", key]:
            return BrokenProduct(order_id=order.id, key=key)
        case ["price_changed", text]:
            return PriceChanged(order_id=order.id, prices=readable_prices(order, text))
    raise StoreUnavailable(f"the store answered {answer[0]!r}, which this version does not know")


def acceptance_call(
    placement: Placement,
    token: str,
    claim_ttl_seconds: int,
    outbox_limit: int,
    *,
    refuses_unknown_products: bool = False,
) -> ScriptCall:
    """One run of ``accept.lua``; ``token`` is this request's alone."""
    order, expected, key = placement.order, placement.expected, placement.idempotency_key
    customer, begins = placement.customer, placement.not_before
    is_as_sent = placement.sent is None and not expected and begins is None
    fingerprint = content_fingerprint(order)
    asked = fingerprint if is_as_sent else request_fingerprint(placement.sent or order, expected, begins)
    keys = [
        keyspace.claim(order.id),
        keyspace.order(order.id),
        keyspace.orders_in(OrderStatus.ACCEPTED),
        keyspace.OUTBOX,
        keyspace.order(order.id) if key is None else keyspace.idempotency_key(key, customer),
        keyspace.order(order.id) if customer is None else keyspace.orders_of(customer),
        keyspace.order(order.id) if key is None or customer else keyspace.older_idempotency_key(key),
        keyspace.LOG,
        keyspace.orders_in(OrderStatus.SCHEDULED),
        keyspace.DUE,
        keyspace.order(order.id) if customer is None else keyspace.due_of(customer),
        *(keyspace.product(item.sku) for item in order.items),
    ]
    arguments: list[str | int] = [
        token,
        claim_ttl_seconds,
        outbox_limit,
        order.id,
        encode_order(order),
        fingerprint,
        placement.trace.correlation_id,
        placement.trace.traceparent or "",
        f"{order.id if placement.client_named_id else ''}:{asked}",
        placement.media_type,
        key or "",
        keyspace.order(""),
        "" if is_as_sent else asked,
        expected.currency or "",
        "" if expected.amount_total is None else expected.amount_total,
        int(refuses_unknown_products),
        customer or "",
        "" if begins is None else begins,
        *(MOST_SCHEDULED, MOST_SCHEDULED_OF_ONE),
        *(item.qty for item in order.items),
    ]
    return ScriptCall(keys, arguments)
