"""The orders behind dead letters."""

from collections.abc import Sequence
from typing import Any, Final

from redis.exceptions import ResponseError

from shared import keyspace
from shared.logs import get_logger
from shared.messages import Event, OrderPlaced
from shared.orders.decisions import DROPPED, Decision
from shared.orders.model import Trouble
from shared.orders.ports import LetterStep, Noted
from shared.orders.redis.decisions import UNSETTLED_INDEXES, decision_call, decision_of
from shared.orders.redis.reading import fetch_records
from shared.orders.redis.scripts import load
from shared.redis.client import Redis, store_deadline
from shared.redis.scripts import Script, ScriptCall

DESK: Final = "dead_letters"
"""Who does what is done to dead letters, in the words of timelines."""

log = get_logger(__name__)


class RedisOrderBooks:
    """Notes on orders, and their end. A record that is broken keeps nothing from going on."""

    def __init__(self, redis: Redis, *, timeout_seconds: float) -> None:
        self._redis = redis
        self._timeout_seconds = timeout_seconds
        self._note = load("note")
        self._revive = load("revive")
        self._decide = load("decide")

    async def note(self, steps: Sequence[LetterStep]) -> Sequence[Noted]:
        calls = [
            ScriptCall(
                [keyspace.order(step.order_id), keyspace.LOG],
                [
                    *(step.step, step.reason, step.attempts, int(step.unless_decided), step.fingerprint),
                    *(step.order_id, DESK),
                ],
            )
            for step in steps
        ]
        answers = await self._run(self._note, calls)
        return [_noted(step.order_id, answer) for step, answer in zip(steps, answers, strict=True)]

    async def revive(self, noted: Sequence[Noted]) -> None:
        calls = [
            ScriptCall(
                [keyspace.order(each.order_id), *UNSETTLED_INDEXES, keyspace.LOG], [each.order_id, each.mark]
            )
            for each in noted
            if each.trouble is Trouble.DEAD
        ]
        for answer in await self._run(self._revive, calls):
            if isinstance(answer, ResponseError):
                log.error("redrive not noted", error=str(answer))

    async def accepted(self, order_id: str) -> Event[OrderPlaced] | None:
        async with store_deadline(self._timeout_seconds):
            (record,) = await fetch_records(self._redis, [order_id])
        return None if record is None else record.placed

    async def drop(self, placed: Sequence[Event[OrderPlaced]]) -> Sequence[Decision]:
        calls = [decision_call(event, DESK, reason=DROPPED) for event in placed]
        answers = await self._run(self._decide, calls)
        return [decision_of(event, answer) for event, answer in zip(placed, answers, strict=True)]

    async def _run(self, script: Script, calls: Sequence[ScriptCall]) -> list[Any]:
        if not calls:
            return []
        async with store_deadline(self._timeout_seconds):
            return await script.run_many(self._redis, calls)


def _noted(order_id: str, answer: Any) -> Noted:
    if isinstance(answer, ResponseError):
        log.error("redrive not noted", order_id=order_id, error=str(answer))
        return Noted(order_id=order_id, trouble=None, mark=0)
    trouble, length = answer
    return Noted(order_id=order_id, trouble=Trouble(trouble) if trouble else None, mark=int(length))
