"""The orders behind dead letters."""

from collections.abc import Sequence
from typing import Any

from redis.exceptions import ResponseError

from shared import keyspace
from shared.errors import StoreUnavailable
from shared.logs import get_logger
from shared.messages import (
    Event,
    OrderPlaced,
    content_fingerprint,
    encode_order,
    epoch_microseconds,
    event_time,
)
from shared.orders.decisions import DROPPED, Created, Rejected
from shared.orders.model import OrderStatus
from shared.orders.ports import BrokenRecord, Noted, OtherOrder, Step
from shared.redis.client import Redis, store_deadline
from shared.redis.scripts import Script, ScriptCall

log = get_logger(__name__)


class RedisOrderBooks:
    """See the port."""

    def __init__(self, redis: Redis, *, timeout_seconds: float) -> None:
        self._redis = redis
        self._timeout_seconds = timeout_seconds
        self._note = Script.load("shared.orders.redis", "note")
        self._revive = Script.load("shared.orders.redis", "revive")
        self._drop = Script.load("shared.orders.redis", "drop")

    async def note(self, steps: Sequence[Step]) -> Sequence[Noted]:
        """See the port. A record that is broken keeps nothing from going on."""
        calls = [
            ScriptCall(
                [keyspace.order(step.order_id)],
                [step.step, step.reason, step.attempts, int(step.unless_decided), step.fingerprint],
            )
            for step in steps
        ]
        answers = await self._run(self._note, calls)
        return [_noted(step.order_id, answer) for step, answer in zip(steps, answers, strict=True)]

    async def revive(self, noted: Sequence[Noted]) -> None:
        """See the port."""
        indexes = [keyspace.orders_by_status(status) for status in (OrderStatus.RETRYING, OrderStatus.DEAD)]
        calls = [
            ScriptCall([keyspace.order(each.order_id), *indexes], [each.order_id, each.mark])
            for each in noted
            if each.status == OrderStatus.DEAD
        ]
        for answer in await self._run(self._revive, calls):
            if isinstance(answer, ResponseError):
                log.error("redrive not noted", error=str(answer))

    async def drop(
        self, placed: Sequence[Event[OrderPlaced]]
    ) -> Sequence[Created | Rejected | OtherOrder | BrokenRecord]:
        """See the port."""
        return [_decision(answer) for answer in await self._run(self._drop, [_dropping(e) for e in placed])]

    async def _run(self, script: Script, calls: Sequence[ScriptCall]) -> list[Any]:
        if not calls:
            return []
        async with store_deadline(self._timeout_seconds):
            return await script.run_many(self._redis, calls)


def _noted(order_id: str, answer: Any) -> Noted:
    if isinstance(answer, ResponseError):
        log.error("redrive not noted", order_id=order_id, error=str(answer))
        return Noted(order_id=order_id, status=None, mark=0)
    status, length = answer
    return Noted(order_id=order_id, status=status or None, mark=int(length))


def _dropping(event: Event[OrderPlaced]) -> ScriptCall:
    order = event.data.order
    undecided = (OrderStatus.ACCEPTED, OrderStatus.RETRYING, OrderStatus.DEAD)
    return ScriptCall(
        [
            keyspace.order(order.id),
            keyspace.PROCESSED_COUNT,
            keyspace.orders_by_status(OrderStatus.REJECTED),
            *(keyspace.orders_by_status(status) for status in undecided),
        ],
        [
            order.id,
            epoch_microseconds(event.time),
            encode_order(order),
            content_fingerprint(order),
            event.trace.correlation_id,
            event.trace.traceparent or "",
            DROPPED,
        ],
    )


def _decision(answer: Any) -> Created | Rejected | OtherOrder | BrokenRecord:
    match answer:
        case ["created", at, _, _]:
            return Created(decided_at=event_time(int(at)))
        case ["rejected", at, reason, sku]:
            return Rejected(decided_at=event_time(int(at)), reason=reason, sku=sku or None)
        case ["broken", key]:
            raise StoreUnavailable(f"{key} is not an integer")
        case ["other_content"]:
            return OtherOrder()
        case _:
            return BrokenRecord(detail=f"the order's record is broken: {answer}")
