"""From events to notifications: claim, send, mark as sent, and only then ack.

A crash between send and mark is the one moment in which a notification can go out twice.
"""

import asyncio
import random
import secrets
from collections.abc import Sequence
from typing import Final

from notifier.domain import notification_of
from notifier.ports import AlreadySent, Attempt, Claim, Claimed, HeldByAnother, NotificationStore, Sender
from shared.errors import PermanentError, RetryableError
from shared.failpoints import failpoint
from shared.logs import get_logger
from shared.messaging.retry import Dead, Done, Outcome, Retry
from shared.messaging.router import Incoming
from shared.messaging.waiting import waiting_out

SENDS_AT_ONCE: Final = 32

log = get_logger(__name__)


class NotificationHandler:
    """Sends what a batch of events calls for."""

    def __init__(
        self,
        *,
        store: NotificationStore,
        sender: Sender,
        send_timeout_seconds: float,
        random_: random.Random,
    ) -> None:
        self._store = store
        self._sender = sender
        self._send_timeout_seconds = send_timeout_seconds
        self._random = random_
        self._turns = asyncio.Semaphore(SENDS_AT_ONCE)

    async def __call__(self, batch: Sequence[Incoming]) -> Sequence[Outcome]:
        """See BatchHandler. What was sent before is not sent again."""
        attempts = [
            Attempt(notification=notification_of(incoming.event), owner=secrets.token_hex(8))
            for incoming in batch
        ]
        claims = await self._store.claim(attempts)
        outcomes = await asyncio.gather(
            *(self._send(attempt, claim) for attempt, claim in zip(attempts, claims, strict=True))
        )
        sent = [
            attempt
            for attempt, claim, outcome in zip(attempts, claims, outcomes, strict=True)
            if isinstance(claim, Claimed) and isinstance(outcome, Done)
        ]
        if sent:
            failpoint("between_send_and_mark")
            await waiting_out(lambda: self._store.mark_sent(sent), self._random)
        return outcomes

    async def _send(self, attempt: Attempt, claim: Claim) -> Outcome:
        if isinstance(claim, AlreadySent):
            return Done()
        if isinstance(claim, HeldByAnother):
            return Retry(reason="claimed_elsewhere", delay_seconds=claim.seconds)
        try:
            async with self._turns, asyncio.timeout(self._send_timeout_seconds):
                await self._sender.send(attempt.notification)
        except PermanentError as error:
            return Dead(reason="undeliverable", error=str(error))
        except (RetryableError, TimeoutError) as error:
            text = str(error) or f"no answer within {self._send_timeout_seconds:g} s"
            await waiting_out(lambda: self._store.release(attempt, text), self._random)
            return Retry(reason="send_failed", error=text)
        return Done()
