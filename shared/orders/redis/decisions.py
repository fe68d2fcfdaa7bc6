"""Decisions in Redis: one script run per order, a whole batch in one round trip."""

from collections.abc import Sequence
from typing import Any, Final

from redis.exceptions import ResponseError

from shared import keyspace
from shared.errors import StoreUnavailable
from shared.messages import (
    Event,
    OrderPlaced,
    content_fingerprint,
    encode_order,
    epoch_microseconds,
    event_time,
)
from shared.messaging.retry import Bury, Wait
from shared.orders.decisions import OTHER_CONTENT, Cancelled, Created, Decision, Rejected, Undecidable
from shared.orders.model import OrderStatus, Payment, Trouble
from shared.orders.redis.reading import readable_prices
from shared.orders.redis.scripts import load
from shared.pipeline import ORDER_PROCESSOR
from shared.prices import prices_text
from shared.redis.client import Redis, store_deadline
from shared.redis.scripts import ScriptCall

UNSETTLED_INDEXES: Final = (
    keyspace.orders_in(OrderStatus.ACCEPTED),
    *(keyspace.orders_in(trouble) for trouble in Trouble),
)
"""Where an order may stand that is not decided."""
ANY_AGE: Final = 10**17
"""In microseconds."""


class RedisDecisionStore:
    """Decides orders by one idempotent script, and notes on those that wait."""

    def __init__(
        self,
        redis: Redis,
        *,
        timeout_seconds: float,
        oldest_recreated_seconds: float,
        asks_payment: bool = False,
    ) -> None:
        self._redis = redis
        self._timeout_seconds = timeout_seconds
        self._oldest_recreated = round(oldest_recreated_seconds * 1_000_000)
        self._asks_payment = asks_payment
        self._decide = load("decide")
        self._delay = load("delay")

    async def decide(self, placed: Sequence[Event[OrderPlaced]]) -> Sequence[Decision]:
        calls = [
            decision_call(
                event,
                ORDER_PROCESSOR.service,
                oldest_recreated=self._oldest_recreated,
                asks_payment=self._asks_payment,
            )
            for event in placed
        ]
        async with store_deadline(self._timeout_seconds):
            answers = await self._decide.run_many(self._redis, calls)
        return [decision_of(event, answer) for event, answer in zip(placed, answers, strict=True)]

    async def waits(self, event: Event[Any], fate: Wait) -> None:
        await self._note(event, Trouble.RETRYING, fate, str(fate.expiration_seconds))

    async def buried(self, event: Event[Any], fate: Bury) -> None:
        await self._note(event, Trouble.DEAD, fate, "")

    async def _note(self, event: Event[Any], trouble: Trouble, fate: Wait | Bury, delay: str) -> None:
        history = fate.history
        arguments = [
            event.subject,
            trouble.value,
            history.reason,
            history.attempts,
            delay,
            history.last_failed_at,
            content_fingerprint(event.data.order),
            ORDER_PROCESSOR.service,
        ]
        keys = [keyspace.order(event.subject), *UNSETTLED_INDEXES, keyspace.LOG]
        async with store_deadline(self._timeout_seconds):
            await self._delay.run(self._redis, keys, arguments)


def decision_call(
    event: Event[OrderPlaced],
    by: str,
    *,
    oldest_recreated: int = ANY_AGE,
    reason: str = "",
    asks_payment: bool = False,
) -> ScriptCall:
    """One run of ``decide.lua`` by a service; with a reason the order is rejected, unless it is decided.

    ``asks_payment`` has the order paid for, if it is created and costs anything.
    """
    order, customer = event.data.order, event.data.customer
    keys = [
        keyspace.order(order.id),
        keyspace.decision(order.id),
        keyspace.PROCESSED_COUNT,
        keyspace.RESERVED,
        keyspace.SKUS,
        keyspace.orders_in(OrderStatus.CREATED),
        keyspace.orders_in(OrderStatus.REJECTED),
        *UNSETTLED_INDEXES,
        keyspace.UNTOLD,
        keyspace.order(order.id) if customer is None else keyspace.orders_of(customer),
        keyspace.STOCK_CHANGED,
        keyspace.LOG,
        keyspace.PAYMENTS_DUE,
        *(keyspace.inventory(item.sku) for item in order.items),
    ]
    arguments: list[str | int] = [
        order.id,
        epoch_microseconds(event.time),
        oldest_recreated,
        encode_order(order),
        content_fingerprint(order),
        event.trace.correlation_id,
        event.trace.traceparent or "",
        reason,
        prices_text(event.data.prices),
        customer or "",
        by,
        Payment.PENDING.value if asks_payment else "",
    ]
    for item in order.items:
        arguments += [item.sku, item.qty]
    return ScriptCall(keys, arguments)


def decision_of(event: Event[OrderPlaced], answer: Any) -> Decision:
    """What the script's answer about this event means."""
    if isinstance(answer, ResponseError):
        return Undecidable(reason="broken_record", detail=str(answer))
    match answer:
        case [OrderStatus.CREATED, at, _, _, text]:
            return Created(decided_at=event_time(int(at)), prices=readable_prices(event.data.order, text))
        case [OrderStatus.REJECTED, at, reason, sku, text]:
            prices = readable_prices(event.data.order, text)
            return Rejected(decided_at=event_time(int(at)), reason=reason, sku=sku or None, prices=prices)
        case ["broken_stock", keyspace.PROCESSED_COUNT]:
            raise StoreUnavailable(f"{keyspace.PROCESSED_COUNT} is not an integer")
        case [OrderStatus.CANCELLED]:
            return Cancelled()
    return _undecidable(answer)


def _undecidable(answer: list[str]) -> Undecidable:
    match answer:
        case ["broken_stock", sku]:
            return Undecidable(reason="broken_stock", detail=f"the stock entry of {sku} is not an integer")
        case ["other_content"]:
            return Undecidable(reason=OTHER_CONTENT, detail="another order was accepted under this id")
    return Undecidable(reason="order_unknown", detail="no record, and too old to be recreated")
