"""Moves of orders, as the gateway makes them."""

from typing import Any

from shared import keyspace
from shared.orders.model import OrderStatus
from shared.orders.moves import ANNOUNCED, Move, Moved, MoveResult
from shared.orders.redis.moves import RedisMoves
from tests.harness.decisions import record_of
from tests.harness.stores import as_service

WAY = (OrderStatus.PROCESSING, OrderStatus.SHIPPED, OrderStatus.DELIVERED)


async def moved(redis: Any, order_id: str, to: OrderStatus, *, by: str = "olga", **more: Any) -> MoveResult:
    """The answer to a request to move an order, by an operator unless it is said by whom."""
    moves = RedisMoves(as_service(redis, "api_gateway"), timeout_seconds=5.0)
    return await moves.move(await record_of(redis, order_id), Move(order_id=order_id, to=to, by=by, **more))


async def ended(redis: Any, order_id: str, *moves: OrderStatus) -> None:
    """Makes these moves, all three on the way to delivery if none is named; all are announced and told."""
    for to in moves or WAY:
        assert await moved(redis, order_id, to) == Moved(is_new=True)
        await redis.zrem(keyspace.MOVES, f"{order_id}:{to.value}")
    await redis.zrem(keyspace.UNTOLD, *(f"{order_id}:{kind}" for kind in ANNOUNCED.values()))
