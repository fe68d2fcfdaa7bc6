"""The orders behind dead letters, in Redis; and the turn of whoever looks at the letters."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from redis.exceptions import ResponseError

from dashboard.dead_letters.ports import BrokenRecord, Noted, OtherOrder, Step
from shared import keyspace
from shared.decisions import DROPPED, Created, Rejected
from shared.errors import StoreUnavailable
from shared.keyspace import OrderStatus
from shared.logs import get_logger
from shared.messages import (
    Event,
    OrderPlaced,
    content_fingerprint,
    encode_order,
    epoch_microseconds,
    event_time,
)
from shared.messaging.dead_letters import DeadLettersBusy
from shared.redis.client import Redis, store_deadline
from shared.redis.lease import Lease
from shared.redis.scripts import Script, ScriptCall

LEASE_SECONDS: Final = 15.0
RENEW_SECONDS: Final = 4.0
TURN_SECONDS: Final = 5.0
"""How long to wait for the one who looks at present."""
ASK_AGAIN_SECONDS: Final = 0.1

log = get_logger(__name__)


class RedisOrderBooks:
    """See the port."""

    def __init__(self, redis: Redis, *, timeout_seconds: float) -> None:
        self._redis = redis
        self._timeout_seconds = timeout_seconds
        self._note = Script.load("dashboard", "note")
        self._revive = Script.load("dashboard", "revive")
        self._drop = Script.load("dashboard", "drop")

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
        case ["other_content"]:
            return OtherOrder()
        case _:
            return BrokenRecord(detail=f"the order's record is broken: {answer}")


class RedisTurns:
    """See the port: a lock within this process, and a lease among several."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """See the port."""
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._lock.acquire()
        except TimeoutError as error:
            raise DeadLettersBusy("somebody else is looking at the dead letters") from error
        try:
            await self._take_lease()
            renewing = asyncio.create_task(self._renew())
            try:
                yield
            finally:
                renewing.cancel()
                await asyncio.gather(renewing, return_exceptions=True)
                with contextlib.suppress(StoreUnavailable):  # then it ends by itself
                    await self._lease.release()
        finally:
            self._lock.release()

    async def _take_lease(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + TURN_SECONDS
        while not await self._lease.hold(LEASE_SECONDS):
            if loop.time() > deadline:
                raise DeadLettersBusy("another dashboard is looking at the dead letters")
            await asyncio.sleep(ASK_AGAIN_SECONDS)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                await self._lease.hold(LEASE_SECONDS)
            except StoreUnavailable as error:
                log.warning("lease not renewed", reason=str(error))
