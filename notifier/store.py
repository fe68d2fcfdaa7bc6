"""Notifications in Redis: a claim with a lease per event, and the state of each order's latest one."""

import math
import time
from collections.abc import Sequence
from typing import Any, Final

from redis.exceptions import ResponseError

from notifier.ports import AlreadySent, Attempt, Claim, Claimed, HeldByAnother, Unreadable
from shared import keyspace
from shared.errors import PermanentError
from shared.keyspace import NotificationStatus
from shared.messages import Event
from shared.messaging.retry import Bury, Wait
from shared.redis.client import Redis, store_deadline
from shared.redis.scripts import Script, ScriptCall

UNTRIED: Final = "untried"
"""What the script calls the end of an attempt that does not count as one."""


class RedisNotificationStore:
    """See the port; also the FailureListener of the notifier's router."""

    def __init__(
        self,
        redis: Redis,
        *,
        timeout_seconds: float,
        lease_seconds: float,
        retention_seconds: float,
    ) -> None:
        self._redis = redis
        self._timeout_seconds = timeout_seconds
        self._lease_seconds = lease_seconds
        self._retention_seconds = math.ceil(retention_seconds)
        self._claim = Script.load("notifier", "claim")
        self._conclude = Script.load("notifier", "conclude")

    async def claim(self, attempts: Sequence[Attempt]) -> Sequence[Claim]:
        """See the port."""
        calls = [
            ScriptCall(
                _keys(attempt.notification.id, attempt.notification.order_id),
                [
                    attempt.owner,
                    round(self._lease_seconds * 1000),
                    attempt.notification.id,
                    attempt.channel,
                    self._retention_seconds,
                ],
            )
            for attempt in attempts
        ]
        until = time.monotonic() + self._lease_seconds
        async with store_deadline(self._timeout_seconds):
            answers = await self._claim.run_many(self._redis, calls)
        return [_claim(answer, until) for answer in answers]

    async def mark_sent(self, attempts: Sequence[Attempt]) -> None:
        """See the port."""
        await self._run([self._ending(attempt, NotificationStatus.SENT) for attempt in attempts])

    async def release(self, attempt: Attempt, error: str) -> None:
        """See the port."""
        await self._run([self._ending(attempt, NotificationStatus.SENDING, error)])

    async def give_back(self, attempts: Sequence[Attempt], error: str) -> None:
        """See the port."""
        await self._run([self._ending(attempt, UNTRIED, error) for attempt in attempts])

    async def waits(self, event: Event[Any], fate: Wait) -> None:
        """See FailureListener: a notification that waits for its next attempt still counts as sending."""

    async def buried(self, event: Event[Any], fate: Bury) -> None:
        """See FailureListener."""
        status = NotificationStatus.FAILED.value
        await self._run([self._concluding(event.id, event.subject, "", status, fate.history.last_error)])

    def _ending(self, attempt: Attempt, status: str, error: str = "") -> ScriptCall:
        notification = attempt.notification
        return self._concluding(notification.id, notification.order_id, attempt.owner, status, error)

    def _concluding(self, event_id: str, order_id: str, owner: str, status: str, error: str) -> ScriptCall:
        arguments: list[str | int] = [owner, event_id, status, error, self._retention_seconds]
        return ScriptCall(_keys(event_id, order_id), arguments)

    async def _run(self, calls: Sequence[ScriptCall]) -> None:
        async with store_deadline(self._timeout_seconds):
            answers = await self._conclude.run_many(self._redis, calls)
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise PermanentError(f"the notification's record is broken: {answer}") from answer


def _keys(event_id: str, order_id: str) -> list[str]:
    return [
        keyspace.notification_claim(event_id),
        keyspace.notifications(order_id),
        keyspace.NOTIFICATION_COUNTS,
    ]


def _claim(answer: Any, until: float) -> Claim:
    match answer:
        case ["claimed", attempts]:
            return Claimed(attempts=int(attempts), until=until)
        case ["held", milliseconds]:
            return HeldByAnother(seconds=int(milliseconds) / 1000)
        case ["sent"]:
            return AlreadySent()
        case _:
            return Unreadable(error=f"the notification's record is broken: {answer}")
