"""Orders and the outbox in Redis."""

import secrets
from collections.abc import Sequence
from itertools import count
from typing import Any, Final

from shared import keyspace
from shared.errors import StoreUnavailable
from shared.messages import content_fingerprint, encode_order, request_fingerprint
from shared.orders.model import OrderStatus
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
from shared.orders.redis.listing import RedisOrderReader, places_of
from shared.orders.redis.reading import readable_prices
from shared.orders.redis.scripts import load
from shared.redis.client import Redis, store_deadline
from shared.redis.coalescing import CoalescedScript
from shared.redis.scripts import ScriptCall

MOST_SCHEDULED: Final = 100_000
MOST_SCHEDULED_OF_ONE: Final = 100
"""Orders that wait for their time, and those of one customer."""


class RedisOrderStore(RedisOrderReader):
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
        super().__init__(redis, timeout_seconds=timeout_seconds)
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
        return [(order_id, accepted_at) for accepted_at, order_id in places_of(found)]


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
