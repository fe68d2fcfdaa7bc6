"""Orders and the outbox in Redis."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any, Final, cast

from shared import keyspace
from shared.errors import StoreUnavailable
from shared.messages import content_fingerprint, encode_order, request_fingerprint
from shared.orders.model import OrderStatus, Trouble
from shared.orders.placement import (
    Acceptance,
    Accepted,
    Duplicate,
    KeyReused,
    OutboxFull,
    Placement,
    PlacementResult,
    PriceChanged,
    Replayed,
    SeveralCurrencies,
    UnknownProducts,
    unpriced_skus,
)
from shared.orders.ports import Cursor, OrderPage
from shared.orders.records import OrderRecord
from shared.orders.redis.reading import fetch_notification, fetch_records, readable_prices
from shared.orders.redis.scripts import load
from shared.redis.client import Redis, store_deadline
from shared.redis.coalescing import CoalescedScript
from shared.redis.scripts import ScriptCall

PAGE_BYTES: Final = 1_048_576
BYTES_PER_ITEM: Final = 96
BYTES_BESIDE_ITEMS: Final = 2_048
"""What an item, and all the rest of an order, take in a list as JSON at most."""
RECORDS_PER_READ: Final = 20
"""Reading these holds the loop for some milliseconds where they have 100 items each."""

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

    async def _newest(self, index: str, limit: int, after: Cursor | None) -> Places:
        """Up to ``limit`` places (time, id) that come after the cursor, newest first."""
        bound = "+inf" if after is None else str(after.accepted_at)
        places: Places = []
        offset = 0
        while len(places) < limit:
            async with store_deadline(self._timeout_seconds):
                chunk = await self._redis.zrange(
                    index,
                    bound,
                    "-inf",
                    desc=True,
                    byscore=True,
                    offset=offset,
                    num=limit,
                    withscores=True,
                )
            found = _places(chunk)
            places += [
                place for place in found if after is None or place < (after.accepted_at, after.order_id)
            ]
            offset += limit
            if len(found) < limit:
                break
        return places[:limit]

    async def list(
        self,
        status: OrderStatus | None,
        limit: int,
        after: Cursor | None,
        trouble: Trouble | None = None,
    ) -> OrderPage:
        """As the port has it. Every order is in the index of exactly one status; the indexes are merged here.

        An order that is decided in between may be found in two of them, and is shown once.
        """
        indexes = [keyspace.orders_in(each) for each in ([status] if status else OrderStatus)]
        if trouble:  # only accepted orders are in one
            indexes = [keyspace.orders_in(trouble)] if status in (None, OrderStatus.ACCEPTED) else []
        pages = await asyncio.gather(*(self._newest(each, limit + 1, after) for each in indexes))
        newest = sorted({place for page in pages for place in page}, reverse=True)
        orders, last = await self._page(newest[:limit])
        more = last is not None and last != newest[-1]
        return OrderPage(
            orders=orders,
            next_cursor=Cursor(accepted_at=last[0], order_id=last[1]) if last and more else None,
        )

    async def _page(self, places: Places) -> tuple[Sequence[OrderRecord], Place | None]:
        """The orders at these places as far as a page can hold them, and the place of the last one."""
        orders: list[OrderRecord] = []
        last, room = None, PAGE_BYTES
        for begin in range(0, len(places), RECORDS_PER_READ):
            part = places[begin : begin + RECORDS_PER_READ]
            records = await self.get_many([order_id for _, order_id in part])
            for place, record in zip(part, records, strict=True):
                if record is not None:
                    room -= BYTES_BESIDE_ITEMS + BYTES_PER_ITEM * len(record.order.items)
                    if room < 0:
                        return orders, last
                    orders.append(record)
                last = place
        return orders, last


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


def _places(scored: object) -> Places:
    return [(int(score), order_id) for order_id, score in cast(list[tuple[str, float]], scored)]


def _acceptance(answer: list[Any], placement: Placement) -> Acceptance:
    order = placement.order
    match answer:
        case ["new", at, text]:
            prices = readable_prices(order, text)
            return Acceptance(result=Accepted(order_id=order.id, prices=prices), accepted_at=int(at))
        case ["replay", first_id, media_type, waiting, text]:
            prices = readable_prices(order, text)
            replayed = Replayed(order_id=first_id, media_type=media_type, prices=prices)
            return Acceptance(result=replayed, waiting=waiting == "1")
        case ["full"]:
            raise OutboxFull("too many orders wait for a broker")
        case ["broken_product", key]:
            raise StoreUnavailable(f"{key} has no price that can be read")
    return Acceptance(result=_refusal(answer, placement))


def _refusal(answer: list[Any], placement: Placement) -> PlacementResult:
    order = placement.order
    match answer:
        case ["reused", first_id]:
            return KeyReused(order_id=first_id)
        case ["duplicate", status, known]:
            same = known == request_fingerprint(order, placement.expected)
            return Duplicate(
                order_id=order.id, status=OrderStatus(status) if status else None, same_content=same
            )
        case ["currencies", *currencies]:
            return SeveralCurrencies(order_id=order.id, currencies=currencies)
        case ["unknown_products", text]:
            return UnknownProducts(order_id=order.id, skus=unpriced_skus(order, readable_prices(order, text)))
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
    fingerprint = content_fingerprint(order)
    asked = request_fingerprint(order, expected) if expected else fingerprint
    keys = [
        keyspace.claim(order.id),
        keyspace.order(order.id),
        keyspace.orders_in(OrderStatus.ACCEPTED),
        keyspace.OUTBOX,
        keyspace.order(order.id) if key is None else keyspace.idempotency_key(key),
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
        asked if expected else "",
        expected.currency or "",
        "" if expected.amount_total is None else expected.amount_total,
        int(refuses_unknown_products),
        *(item.qty for item in order.items),
    ]
    return ScriptCall(keys, arguments)
