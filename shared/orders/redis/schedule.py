"""Orders that wait for their time, in Redis."""

from collections.abc import Sequence
from typing import Any, Final

from redis.exceptions import ResponseError

from shared import keyspace
from shared.logs import get_logger
from shared.orders.model import OrderStatus
from shared.orders.redis.scripts import load
from shared.redis.client import Redis, store_deadline
from shared.redis.scripts import ScriptCall

WHO: Final = "api_gateway"
BROKEN_MICROSECONDS: Final = 60_000_000
"""Until one whose record cannot be used, and which an operator may repair, is tried again."""

log = get_logger(__name__)


class RedisSchedule:
    """Scheduled orders by the store's own clock. Methods raise StoreUnavailable."""

    def __init__(self, redis: Redis, *, timeout_seconds: float) -> None:
        self._redis: Any = redis
        self._timeout_seconds = timeout_seconds
        self._due = load("due")

    async def take_up(self, limit: int) -> Sequence[str]:
        """Has orders begin whose time has come, the longest due first; none are left where it returns none.

        What it returns are those whose messages are to be published.
        """
        while True:
            async with store_deadline(self._timeout_seconds):
                seconds, microseconds = await self._redis.time()
                now = seconds * 1_000_000 + microseconds
                due: list[str] = await self._redis.zrange(
                    keyspace.DUE,
                    "-inf",
                    now,
                    byscore=True,
                    offset=0,
                    num=limit,
                )
            if not due:
                return []
            if begun := await self._begin(due, now + BROKEN_MICROSECONDS):
                return begun

    async def _begin(self, order_ids: Sequence[str], later: int) -> Sequence[str]:
        async with store_deadline(self._timeout_seconds), self._redis.pipeline(transaction=False) as pipeline:
            for order_id in order_ids:
                _ = pipeline.hget(keyspace.order(order_id), "customer")
            customers = await pipeline.execute(raise_on_error=False)
        calls = [_call(*each) for each in zip(order_ids, customers, strict=True)]
        async with store_deadline(self._timeout_seconds):
            answers = await self._due.run_many(self._redis, calls)
        begun: list[str] = []
        broken: dict[str, int] = {}
        for order_id, answer in zip(order_ids, answers, strict=True):
            if isinstance(answer, ResponseError):
                broken[order_id] = later
                log.error("a scheduled order cannot begin", order_id=order_id, error=str(answer))
            elif answer:
                begun.append(order_id)
        if broken:
            async with store_deadline(self._timeout_seconds):
                await self._redis.zadd(keyspace.DUE, broken, xx=True)
        return begun


def _call(order_id: str, customer: Any) -> ScriptCall:
    is_owned = isinstance(customer, str)
    keys = [
        keyspace.order(order_id),
        keyspace.DUE,
        keyspace.due_of(customer) if is_owned else keyspace.order(order_id),
        keyspace.orders_in(OrderStatus.SCHEDULED),
        keyspace.orders_in(OrderStatus.ACCEPTED),
        keyspace.OUTBOX,
        keyspace.LOG,
    ]
    return ScriptCall(keys, [order_id, WHO, int(is_owned)])
