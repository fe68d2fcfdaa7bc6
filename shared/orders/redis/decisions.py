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
from shared.orders.decisions import Created, Decision, Rejected, Undecidable
from shared.orders.model import OrderStatus
from shared.redis.client import Redis, store_deadline
from shared.redis.scripts import Script, ScriptCall

UNDECIDED: Final = (OrderStatus.ACCEPTED, OrderStatus.RETRYING, OrderStatus.DEAD)


class RedisDecisionStore:
    """Decides orders by one idempotent script, and notes on those that wait."""

    def __init__(self, redis: Redis, *, timeout_seconds: float, oldest_recreated_seconds: float) -> None:
        self._redis = redis
        self._timeout_seconds = timeout_seconds
        self._oldest_recreated = round(oldest_recreated_seconds * 1_000_000)
        self._reserve = Script.load("shared.orders.redis", "reserve")
        self._delay = Script.load("shared.orders.redis", "delay")

    async def decide(self, placed: Sequence[Event[OrderPlaced]]) -> Sequence[Decision]:
        """See the port."""
        async with store_deadline(self._timeout_seconds):
            answers = await self._reserve.run_many(self._redis, [self._call(event) for event in placed])
        return [_decision(answer) for answer in answers]

    async def waits(self, event: Event[Any], fate: Wait) -> None:
        """See FailureListener."""
        await self._note(event, OrderStatus.RETRYING, fate, str(fate.expiration_seconds))

    async def buried(self, event: Event[Any], fate: Bury) -> None:
        """See FailureListener."""
        await self._note(event, OrderStatus.DEAD, fate, "")

    def _call(self, event: Event[OrderPlaced]) -> ScriptCall:
        order = event.data.order
        keys = [
            keyspace.order(order.id),
            keyspace.PROCESSED_COUNT,
            keyspace.RESERVED,
            keyspace.SKUS,
            keyspace.orders_by_status(OrderStatus.CREATED),
            keyspace.orders_by_status(OrderStatus.REJECTED),
            *(keyspace.orders_by_status(status) for status in UNDECIDED),
            *(keyspace.inventory(item.sku) for item in order.items),
        ]
        arguments: list[str | int] = [
            order.id,
            epoch_microseconds(event.time),
            self._oldest_recreated,
            encode_order(order),
            content_fingerprint(order),
            event.trace.correlation_id,
            event.trace.traceparent or "",
        ]
        for item in order.items:
            arguments += [item.sku, item.qty]
        return ScriptCall(keys, arguments)

    async def _note(self, event: Event[Any], status: OrderStatus, fate: Wait | Bury, delay: str) -> None:
        keys = [keyspace.order(event.subject), *(keyspace.orders_by_status(each) for each in UNDECIDED)]
        history = fate.history
        arguments = [
            event.subject,
            status.value,
            history.reason,
            history.attempts,
            delay,
            history.last_failed_at,
            content_fingerprint(event.data.order),
        ]
        async with store_deadline(self._timeout_seconds):
            await self._delay.run(self._redis, keys, arguments)


def _decision(answer: Any) -> Decision:
    if isinstance(answer, ResponseError):
        return Undecidable(reason="broken_record", detail=str(answer))
    match answer:
        case ["created", at, _, _]:
            return Created(decided_at=event_time(int(at)))
        case ["rejected", at, reason, sku]:
            return Rejected(decided_at=event_time(int(at)), reason=reason, sku=sku or None)
        case ["broken_stock", keyspace.PROCESSED_COUNT]:
            raise StoreUnavailable(f"{keyspace.PROCESSED_COUNT} is not an integer")
        case ["broken_stock", sku]:
            return Undecidable(reason="broken_stock", detail=f"the stock entry of {sku} is not an integer")
        case ["other_content"]:
            return Undecidable(reason="other_content", detail="another order was accepted under this id")
        case _:
            return Undecidable(reason="order_unknown", detail="no record, and too old to be recreated")
