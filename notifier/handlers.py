"""From events to notifications: claim, send, mark as sent, and only then ack.

A crash between send and mark is the one moment in which a notification can go out twice, so each is marked
before the turn passes on: one turn, the default, means one extra notification at most per crash. While the
way to the customers is shut for all of them, the batch is given back unsent and waits; nobody's attempts are
spent. While the store is silent the same attempts ask again: it may have granted what nobody heard, and
others would wait for that lease to end.
"""

import asyncio
import random
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from notifier.domain import notification_of
from notifier.ports import (
    AlreadySent,
    Attempt,
    Claim,
    Claimed,
    HeldByAnother,
    NotificationStore,
    Sender,
    Unreadable,
)
from shared.cancellation import finishing
from shared.errors import PermanentError, RetryableError, SenderUnavailable
from shared.failpoints import failpoint
from shared.logs import get_logger
from shared.messages import Event, EventData
from shared.messaging.retry import Dead, Done, Outcome, Retry, outcome_of_error
from shared.messaging.router import Incoming
from shared.messaging.waiting import waiting_out

LETTER_IN_HAND_SECONDS: Final = 3.0
"""What a drain that is out of time grants it: the mail server may have taken it, and nobody have noted it."""

log = get_logger(__name__)


@dataclass(slots=True)
class _Batch:
    """What a message of a batch leaves to those behind it.

    ``trouble`` is why nothing more is begun: the way is shut, or the store could not say how a sending ended.
    ``unsent`` are claimed, and were not begun or met the shut way.
    """

    trouble: Exception | None = None
    is_given_up: bool = False
    unsent: list[Attempt] = field(default_factory=list)

    def has_ended(self) -> bool:
        """Whether nothing more is to be begun."""
        return self.trouble is not None or self.is_given_up

    def give_up(self) -> None:
        """Nobody waits for the rest any more."""
        self.is_given_up = True


class NotificationHandler:
    """Sends what a batch of events calls for, ``sends_at_once`` at a time."""

    def __init__(
        self,
        *,
        store: NotificationStore,
        sender: Sender,
        send_timeout_seconds: float,
        random_: random.Random,
        sends_at_once: int = 1,
    ) -> None:
        self._store = store
        self._sender = sender
        self._send_timeout_seconds = send_timeout_seconds
        self._random = random_
        self._sends_at_once = sends_at_once

    async def __call__(self, batch: Sequence[Incoming]) -> Sequence[Outcome]:
        """See BatchHandler. What was sent before is not sent again.

        Raises SenderUnavailable, or what went wrong with one of them, once everything that was sent is marked
        and the rest is given back: whoever gets it then need not wait for a lease.
        """
        attempts = [self._attempt_at(incoming.event) for incoming in batch]
        claims = await waiting_out(lambda: self._store.claim(attempts), self._random)
        together = _Batch()
        outcomes = await finishing(
            self._conclude_all(attempts, claims, together), LETTER_IN_HAND_SECONDS, together.give_up
        )
        if together.trouble is not None:
            unsent, text = together.unsent, str(together.trouble)
            if unsent:
                await waiting_out(lambda: self._store.give_back(unsent, text), self._random)
            raise together.trouble
        return [outcome for outcome in outcomes if outcome is not None]

    def _attempt_at(self, event: Event[EventData]) -> Attempt:
        notification = notification_of(event)
        channel = self._sender.channel_for(notification)
        return Attempt(notification=notification, owner=secrets.token_hex(8), channel=channel)

    async def _conclude_all(
        self, attempts: Sequence[Attempt], claims: Sequence[Claim], together: _Batch
    ) -> list[Outcome | None]:
        """One outcome each, in order; None where there is none."""
        outcomes: list[Outcome | None] = [None] * len(attempts)
        numbered = iter(enumerate(zip(attempts, claims, strict=True)))

        async def in_turn() -> None:
            for number, (attempt, claim) in numbered:
                outcomes[number] = await self._conclude(attempt, claim, together)

        await asyncio.gather(*(in_turn() for _ in range(self._sends_at_once)))
        return outcomes

    async def _conclude(self, attempt: Attempt, claim: Claim, together: _Batch) -> Outcome | None:
        """What became of one message; None where it was left, or where that is unknown."""
        try:
            if not together.has_ended():
                claim = await self._renewed(attempt, claim)
            if not isinstance(claim, Claimed):
                return _without_sending(claim)
            if not together.has_ended():
                return await self._send_and_mark(attempt)
            together.unsent.append(attempt)
        except SenderUnavailable as error:
            together.unsent.append(attempt)
            together.trouble = error
        except Exception as error:  # noqa: BLE001 - raised for the whole batch, and judged by the router
            together.trouble = together.trouble or error
        return None

    async def _send_and_mark(self, attempt: Attempt) -> Outcome:
        outcome = await self._send(attempt)
        if isinstance(outcome, Done):
            failpoint("between_send_and_mark")
            await waiting_out(lambda: self._store.mark_sent([attempt]), self._random)
        return outcome

    async def _renewed(self, attempt: Attempt, claim: Claim) -> Claim:
        """The claim, taken again if its turn came so late that the lease may end while it is being sent."""
        if isinstance(claim, Claimed) and claim.until < time.monotonic() + self._send_timeout_seconds:
            (claim,) = await waiting_out(lambda: self._store.claim([attempt]), self._random)
        return claim

    async def _send(self, attempt: Attempt) -> Outcome:
        try:
            async with asyncio.timeout(self._send_timeout_seconds):
                await self._sender.send(attempt.notification)
        except SenderUnavailable:
            raise
        except PermanentError as error:
            return await self._released(attempt, Dead(reason="undeliverable", error=str(error)))
        except (RetryableError, TimeoutError) as error:
            text = str(error) or f"no answer within {self._send_timeout_seconds:g} s"
            return await self._released(attempt, Retry(reason="send_failed", error=text))
        except Exception as error:  # a fault of the sender's over one message is not its neighbours'
            log.exception("sender failed", event_id=attempt.notification.id)
            return await self._released(attempt, outcome_of_error(error))
        return Done()

    async def _released(self, attempt: Attempt, outcome: Retry | Dead) -> Retry | Dead:
        await waiting_out(lambda: self._store.release(attempt, outcome.error), self._random)
        return outcome


def _without_sending(claim: AlreadySent | HeldByAnother | Unreadable) -> Outcome:
    match claim:
        case AlreadySent():
            return Done()
        case HeldByAnother(seconds=seconds):
            return Retry(reason="claimed_elsewhere", delay_seconds=seconds)
        case Unreadable(error=error):
            return Dead(reason="permanent_error", error=error)
