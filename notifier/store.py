"""Notifications in Redis: a claim with a lease per event, and the state of each order's latest one."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from redis.exceptions import ResponseError

from notifier.ports import (
    AlreadySent,
    Attempt,
    Claim,
    Claimed,
    DeclinedByCustomer,
    Exhausted,
    HeldByAnother,
    NoClaim,
    RefusedLate,
    UnreadableClaim,
)
from shared import keyspace
from shared.errors import PermanentError
from shared.keyspace import NotificationStatus
from shared.messages import Event
from shared.messaging.retry import Bury, Wait
from shared.orders.redis.scripts import load
from shared.pipeline import NOTIFIER
from shared.redis.client import Redis, store_deadline
from shared.redis.scripts import Script, ScriptCall

UNTRIED: Final = "untried"
"""What the script calls the end of an attempt that does not count as one."""
FOR_GOOD: Final = "for good"
HELD_BACK: Final = "no more letters to this address in this hour: collected"
SENT_UNCONFIRMED: Final = "sent:unconfirmed"
"""What the claim of an event says once two letters went about it and no answer came."""

_IN_A_WORD: Final[Mapping[str, NoClaim]] = {
    "sent": AlreadySent(),
    "declined": DeclinedByCustomer(),
    "exhausted": Exhausted(),
}
"""Answers to a claim that say nothing further."""


class RedisNotificationStore:
    """Also the FailureListener of the notifier's router.

    ``confirm_seconds`` is how long the answer to a letter may take, from when it is marked as unconfirmed.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        timeout_seconds: float,
        lease_seconds: float,
        confirm_seconds: float,
        retention_seconds: float,
    ) -> None:
        self._redis = redis
        self._timeout_seconds = timeout_seconds
        self._lease_seconds = lease_seconds
        self._confirm_seconds = confirm_seconds
        self._retention_seconds = math.ceil(retention_seconds)
        self._claim = load("claim", "notifier")
        self._conclude = load("conclude", "notifier")
        self._unconfirmed = Script.load("notifier", "unconfirmed")

    async def claim(self, attempts: Sequence[Attempt]) -> Sequence[Claim]:
        calls = [
            ScriptCall(
                [
                    *_keys(attempt.notification.id, attempt.notification.order_id),
                    keyspace.order(attempt.notification.order_id),
                    keyspace.declined(keyspace.Channel.MAIL),
                ],
                [
                    attempt.owner,
                    round(self._lease_seconds * 1000),
                    attempt.notification.id,
                    attempt.channel,
                    self._retention_seconds,
                    int(attempt.is_replay),
                ],
            )
            for attempt in attempts
        ]
        until = time.monotonic() + self._lease_seconds
        async with store_deadline(self._timeout_seconds):
            answers = await self._claim.run_many(self._redis, calls)
        return [_claim(answer, until) for answer in answers]

    async def begin_last(self, attempts: Sequence[Attempt]) -> bool:
        return all(await self._note_unconfirmed(attempts, 2, self._lease_seconds, ""))

    async def mark_unconfirmed(self, attempts: Sequence[Attempt], letters: int, message_id: str) -> None:
        await self._note_unconfirmed(attempts, letters, self._confirm_seconds, message_id)

    async def settle(self, attempt: Attempt, claim: Exhausted | DeclinedByCustomer) -> None:
        status = SENT_UNCONFIRMED if isinstance(claim, Exhausted) else NotificationStatus.DECLINED
        await self._run([self._ending(attempt, status)])

    async def mark_sent(self, attempts: Sequence[Attempt]) -> None:
        await self._run([self._ending(attempt, NotificationStatus.SENT) for attempt in attempts])

    async def release(self, attempts: Sequence[Attempt], error: str) -> None:
        await self._run([self._ending(attempt, NotificationStatus.SENDING, error) for attempt in attempts])

    async def hold_back(self, attempts: Sequence[Attempt]) -> None:
        await self._run([self._ending(attempt, UNTRIED, HELD_BACK, "collected") for attempt in attempts])

    async def refuse_late(self, attempts: Sequence[Attempt], error: str, *, is_final: bool) -> None:
        refused = FOR_GOOD if is_final else "later"
        await self._run([self._ending(each, NotificationStatus.SENDING, error, refused) for each in attempts])

    async def give_back(self, attempts: Sequence[Attempt], error: str) -> None:
        await self._run([self._ending(attempt, UNTRIED, error) for attempt in attempts])

    async def waits(self, event: Event[Any], fate: Wait) -> None:
        """A notification that waits for its next attempt still counts as sending."""

    async def buried(self, event: Event[Any], fate: Bury) -> None:
        """It counts as failed, and may still be redriven."""
        status = NotificationStatus.FAILED.value
        await self._run([self._concluding(event.id, event.subject, "", status, fate.history.last_error)])

    async def _note_unconfirmed(
        self, attempts: Sequence[Attempt], letters: int, wait_seconds: float, message_id: str
    ) -> list[Any]:
        waits, retention = round(wait_seconds * 1000), self._retention_seconds
        calls = [
            ScriptCall(
                _keys(attempt.notification.id, attempt.notification.order_id)[:2],
                [attempt.owner, attempt.notification.id, letters, waits, message_id, retention],
            )
            for attempt in attempts
        ]
        return await self._answers(self._unconfirmed, calls)

    def _ending(self, attempt: Attempt, status: str, error: str = "", refused: str = "") -> ScriptCall:
        notification = attempt.notification
        return self._concluding(notification.id, notification.order_id, attempt.owner, status, error, refused)

    def _concluding(
        self, event_id: str, order_id: str, owner: str, status: str, error: str, refused: str = ""
    ) -> ScriptCall:
        arguments: list[str | int] = [owner, event_id, status, error, self._retention_seconds, refused]
        keys = [*_keys(event_id, order_id), keyspace.order(order_id), keyspace.LOG]
        return ScriptCall(keys, [*arguments, order_id, NOTIFIER.service])

    async def _run(self, calls: Sequence[ScriptCall]) -> None:
        await self._answers(self._conclude, calls)

    async def _answers(self, script: Script, calls: Sequence[ScriptCall]) -> list[Any]:
        async with store_deadline(self._timeout_seconds):
            answers = await script.run_many(self._redis, calls)
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise PermanentError(f"the notification's record is broken: {answer}") from answer
        return answers


def _keys(event_id: str, order_id: str) -> list[str]:
    return [
        keyspace.notification_claim(event_id),
        keyspace.notifications(order_id),
        keyspace.NOTIFICATION_COUNTS,
        keyspace.UNTOLD,
    ]


def _claim(answer: Any, until: float) -> Claim:
    match answer:
        case ["claimed", attempts, unconfirmed]:
            return Claimed(attempts=int(attempts), until=until, unconfirmed=int(unconfirmed))
        case ["refused", how, error]:
            return RefusedLate(error=str(error), is_final=how == FOR_GOOD)
        case [str(word)] if word in _IN_A_WORD:
            return _IN_A_WORD[word]
        case ["held", milliseconds]:
            return HeldByAnother(seconds=int(milliseconds) / 1000)
        case _:
            return UnreadableClaim(error=f"the notification's record is broken: {answer}")
