"""Giving orders that the brokers have lost to the relay again.

Safe to repeat, and safe for orders that were only slow: whatever is published twice is decided once.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from shared import keyspace
from shared.orders.model import OrderStatus, outcome_of
from shared.orders.moves import ANNOUNCED, TOLD, told_steps
from shared.orders.redis.scripts import load
from shared.redis.client import Redis, store_deadline
from shared.redis.scripts import ScriptCall

BATCH: Final = 500
MOST_IN_OUTBOX: Final = 5_000
"""Beyond it the rest waits, so that the gateway's bound is never reached on our account."""
ROOM_WITHIN_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.5


class Republisher:
    """Fills the outbox. ``dead_letters`` tells how many messages lie in the dead-letter queue, if it can."""

    def __init__(
        self, redis: Redis, *, timeout_seconds: float, dead_letters: Callable[[], Awaitable[int | None]]
    ) -> None:
        self._redis: Any = redis
        self._timeout_seconds = timeout_seconds
        self._dead_letters = dead_letters
        self._script = load("republish")

    async def takes_dead_orders(self) -> bool:
        """Whether the dead orders have lost their messages too: their queue is known to be empty."""
        return await self._dead_letters() == 0

    async def republish(self, found: Mapping[str, OrderStatus]) -> Sequence[str]:
        """Puts orders into the outbox, by the status in which they were found; returns those that went."""
        republished: list[str] = []
        orders = list(found.items())
        for start in range(0, len(orders), BATCH):
            if not await self._has_room():
                break
            batch = orders[start : start + BATCH]
            async with store_deadline(self._timeout_seconds):
                answers = await self._script.run_many(self._redis, [_call(*each) for each in batch])
            republished += [
                order_id for (order_id, _), answer in zip(batch, answers, strict=True) if answer == 1
            ]
        return republished

    async def _has_room(self) -> bool:
        deadline = time.monotonic() + ROOM_WITHIN_SECONDS
        while await self._in_outbox() > MOST_IN_OUTBOX - BATCH:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(POLL_SECONDS)
        return True

    async def _in_outbox(self) -> int:
        async with store_deadline(self._timeout_seconds):
            return int(await self._redis.zcard(keyspace.OUTBOX))


def _call(order_id: str, status: OrderStatus) -> ScriptCall:
    """What its customer is to be told last is what is announced again: a move, or through its message the
    decision. Of an order that may be cancelled or not before its decision, the former is all there is. One
    that was scheduled waits for its time again."""
    place = keyspace.DUE if status is OrderStatus.SCHEDULED else keyspace.OUTBOX
    keys = [keyspace.order(order_id), place, keyspace.MOVES]
    is_decided = status in ANNOUNCED
    steps = told_steps(status, outcome_of(status, is_decided=is_decided))
    if steps:
        keys.append(keyspace.notification_claim(f"{order_id}:{ANNOUNCED[steps[-1]]}"))
    return ScriptCall(keys, [order_id, status.value, int(status in TOLD)])
