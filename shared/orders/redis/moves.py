"""Moves in Redis: one script run each, with what it brings about and the entry from which it is announced."""

from collections.abc import Sequence
from typing import Any, Final

from shared import keyspace
from shared.errors import StoreUnavailable
from shared.orders.model import NEEDS_PAYMENT, OrderStatus, Payment, Trouble
from shared.orders.moves import (
    EVENT_TYPES,
    TOLD,
    IllegalMove,
    Move,
    Moved,
    MoveKeyReused,
    MoveResult,
    NotMovable,
    OtherVersion,
    Unpaid,
)
from shared.orders.records import OrderRecord
from shared.orders.redis.scripts import load
from shared.redis.client import BrokenKey, Redis, store_deadline
from shared.redis.scripts import ScriptCall

_REASONS: Final = {
    "unknown": "its record is gone",
    "deciding": "its decision is being written",
    "releasing": "its stock is being given back: ask for its cancellation again",
    "broken_stock": "the stock entry of {} is not an integer",
}


class RedisMoves:
    """Makes moves, and knows those that are yet to be announced. Methods raise StoreUnavailable."""

    def __init__(self, redis: Redis, *, timeout_seconds: float) -> None:
        self._redis: Any = redis
        self._timeout_seconds = timeout_seconds
        self._move = load("move")

    async def move(self, record: OrderRecord, move: Move) -> MoveResult:
        """Moves the order of this record, if it may be moved as it stands now."""
        call = _call(record, move)
        try:
            async with store_deadline(self._timeout_seconds):
                answer = await self._move.run(self._redis, call.keys, call.arguments)
        except BrokenKey as error:
            return NotMovable(reason=str(error))
        return _result(answer)

    async def unannounced(self, limit: int) -> Sequence[tuple[str, OrderStatus]]:
        """The oldest moves, each of which is announced before the next one of its order."""
        async with store_deadline(self._timeout_seconds):
            found: list[str] = await self._redis.zrange(keyspace.MOVES, 0, limit - 1)
        return [(order_id, OrderStatus(to)) for order_id, _, to in (each.rpartition(":") for each in found)]

    async def announced(self, moves: Sequence[tuple[str, OrderStatus]]) -> None:
        """These were confirmed."""
        async with store_deadline(self._timeout_seconds):
            await self._redis.zrem(keyspace.MOVES, *(f"{order_id}:{to.value}" for order_id, to in moves))


def _call(record: OrderRecord, move: Move) -> ScriptCall:
    order = record.order
    others = [status for status in OrderStatus if status is not move.to]
    keys = [
        keyspace.order(order.id),
        keyspace.move(order.id),
        keyspace.decision(order.id),
        keyspace.RESERVED,
        keyspace.RELEASES,
        keyspace.OUTBOX,
        keyspace.MOVES,
        keyspace.UNTOLD,
        keyspace.LOG,
        *(keyspace.orders_in(trouble) for trouble in Trouble),
        keyspace.STOCK_CHANGED,
        keyspace.orders_in(move.to),
        keyspace.DUE,
        keyspace.order(order.id) if record.customer is None else keyspace.due_of(record.customer),
        keyspace.PAYMENTS_DUE,
        *(keyspace.orders_in(status) for status in others),
        *(keyspace.inventory(item.sku) for item in order.items),
    ]
    arguments: list[str | int] = [
        *(order.id, move.to.value, move.reason, move.by),
        "" if move.version is None else move.version,
        move.key or "",
        EVENT_TYPES[move.to],
        int(move.to in TOLD),
        len(others),
        int(record.customer is not None),
        Payment.AUTHORISED.value if move.to in NEEDS_PAYMENT else "",
    ]
    for item in order.items:
        arguments += [item.sku, item.qty]
    return ScriptCall(keys, arguments)


def _result(answer: Any) -> MoveResult:
    match answer:
        case ["moved" | "same" as what]:
            return Moved(is_new=what == "moved")
        case ["illegal", status]:
            return IllegalMove(status=OrderStatus(status))
        case ["unpaid", status, payment]:
            return Unpaid(status=OrderStatus(status), payment=Payment(payment))
        case ["version", number]:
            return OtherVersion(version=int(number))
        case ["key"]:
            return MoveKeyReused()
        case [why, *which]:
            return NotMovable(reason=_REASONS[why].format(*which))
    raise StoreUnavailable("the store's answer makes no sense")
