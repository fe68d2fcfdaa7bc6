"""From events to notifications: claim, send, mark as sent, and only then ack.

A notification can go out twice when the notifier dies between send and mark, so each is marked before the
turn passes on: one turn, the default, means one extra notification at most per crash. It can also go out
twice when the receiving side never answers: after ten seconds a letter is recorded as unconfirmed and its
event waits in a retry tier, while the answer may come for minutes. If it does not, one more letter goes, and
no third.

While the way to the customers is shut for all of them, the batch is given back unsent and waits, and no
attempt counts. While the store is silent the same attempts ask again: it may have granted a claim whose
answer was lost, and others would wait for that lease to end.
"""

import asyncio
import random
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from notifier.domain import notification_of
from notifier.leases import LeaseRenewal
from notifier.ports import (
    AlreadySent,
    Attempt,
    Claim,
    Claimed,
    Exhausted,
    HandedOver,
    HeldByAnother,
    NotificationStore,
    OutcomeUnknown,
    RefusedLate,
    Sender,
    Unreadable,
)
from notifier.unconfirmed import UnconfirmedLetters
from shared.cancellation import finishing
from shared.errors import PermanentError, RetryableError, SenderUnavailable
from shared.failpoints import failpoint
from shared.logs import get_logger
from shared.messages import Event, EventData
from shared.messaging.retry import Dead, Done, Outcome, Retry, outcome_of_error
from shared.messaging.router import Incoming
from shared.messaging.waiting import waiting_out

LAST_WORD_SECONDS: Final = 1.0
"""How long a drain that is out of time waits for the answer to a letter in hand."""
LETTER_IN_HAND_SECONDS: Final = 3.0
"""What such a drain grants to finish and to record that letter."""
ASK_AGAIN_SECONDS: Final = 30.0
"""How often the event of an unconfirmed letter comes back to see whether the answer has come."""

log = get_logger(__name__)


@dataclass(slots=True)
class _Batch:
    """What a message of a batch leaves to those behind it.

    ``trouble`` is why nothing more is begun: the way is shut, or the store could not say how a sending ended.
    ``unsent`` are claimed, and were not begun or met the shut way.
    """

    given_up: "asyncio.Future[None]"
    trouble: Exception | None = None
    unsent: list[Attempt] = field(default_factory=list)

    def has_ended(self) -> bool:
        """Whether nothing more is to be begun."""
        return self.trouble is not None or self.given_up.done()

    def give_up(self) -> None:
        """The drain is out of time."""
        if not self.given_up.done():
            self.given_up.set_result(None)


class NotificationHandler:
    """Sends what a batch of events calls for, ``sends_at_once`` at a time.

    ``answer_seconds`` is how long a letter is waited for before it counts as unconfirmed.
    """

    def __init__(
        self,
        *,
        store: NotificationStore,
        sender: Sender,
        unconfirmed: UnconfirmedLetters,
        lease_seconds: float,
        answer_seconds: float,
        random_: random.Random,
        sends_at_once: int = 1,
    ) -> None:
        self._store = store
        self._sender = sender
        self._unconfirmed = unconfirmed
        self._lease_seconds = lease_seconds
        self._answer_seconds = answer_seconds
        self._random = random_
        self._sends_at_once = sends_at_once

    async def __call__(self, batch: Sequence[Incoming]) -> Sequence[Outcome]:
        """One outcome each. What was sent before is not sent again.

        Raises SenderUnavailable, or what went wrong with one of them, once everything that was sent is marked
        and the rest is given back: another notifier that gets it then need not wait for a lease.
        """
        attempts = [self._attempt_at(incoming.event) for incoming in batch]
        claims = await waiting_out(lambda: self._store.claim(attempts), self._random)
        together = _Batch(asyncio.get_running_loop().create_future())
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
                return await self._without_sending(attempt, claim)
            if not together.has_ended():
                return await self._send_and_mark(attempt, claim, together)
            together.unsent.append(attempt)
        except SenderUnavailable as error:
            together.unsent.append(attempt)
            together.trouble = error
        except Exception as error:  # noqa: BLE001 - raised for the whole batch, and judged by the router
            together.trouble = together.trouble or error
        return None

    async def _renewed(self, attempt: Attempt, claim: Claim) -> Claim:
        """The claim, taken again if its turn came late in its lease."""
        if isinstance(claim, Claimed) and claim.until < time.monotonic() + self._lease_seconds / 2:
            (claim,) = await waiting_out(lambda: self._store.claim([attempt]), self._random)
        return claim

    async def _without_sending(
        self, attempt: Attempt, claim: AlreadySent | RefusedLate | Exhausted | HeldByAnother | Unreadable
    ) -> Outcome:
        match claim:
            case AlreadySent():
                return Done()
            case RefusedLate(error=error, is_final=True):
                return Dead(reason="undeliverable", error=error)
            case RefusedLate(error=error):
                return Retry(reason="send_failed", error=error)
            case Exhausted():
                log.warning("sent, unconfirmed", event_id=attempt.notification.id)
                await waiting_out(lambda: self._store.settle_unconfirmed(attempt), self._random)
                return Done()
            case HeldByAnother(seconds=seconds):
                return Retry(reason="claimed_elsewhere", delay_seconds=min(seconds, ASK_AGAIN_SECONDS))
            case Unreadable(error=error):
                return Dead(reason="permanent_error", error=error)

    async def _send_and_mark(self, attempt: Attempt, claim: Claimed, together: _Batch) -> Outcome:
        is_last = claim.unconfirmed == 1
        if is_last and not await waiting_out(lambda: self._store.begin_last(attempt), self._random):
            return Retry(reason="claimed_elsewhere", delay_seconds=self._lease_seconds)
        renewal = LeaseRenewal(self._store, attempt, self._lease_seconds / 3)
        try:
            outcome = await self._send(attempt, claim.unconfirmed + 1, together)
        finally:
            await renewal.end()
        if isinstance(outcome, Done):
            failpoint("between_send_and_mark")
            await waiting_out(lambda: self._store.mark_sent([attempt]), self._random)
        return outcome

    async def _send(self, attempt: Attempt, letters: int, together: _Batch) -> Outcome:
        handed = None
        try:
            handed = await self._sender.send(attempt.notification)
            if handed is not None:
                if not await self._is_answered(handed, together):
                    return await self._parked(attempt, handed, letters, together)
                handed.answer.result()
        except asyncio.CancelledError:
            if handed is not None:
                handed.answer.cancel()
            raise
        except SenderUnavailable:
            raise
        except PermanentError as error:
            return await self._released(attempt, Dead(reason="undeliverable", error=str(error)))
        except RetryableError as error:
            return await self._released(attempt, Retry(reason="send_failed", error=str(error)))
        except Exception as error:  # a fault of the sender's over one message is not its neighbours'
            log.exception("sender failed", event_id=attempt.notification.id)
            return await self._released(attempt, outcome_of_error(error))
        return Done()

    async def _is_answered(self, handed: HandedOver, together: _Batch) -> bool:
        """Whether the answer came in time and says what became of the letter."""
        await asyncio.wait(
            {handed.answer, together.given_up},
            timeout=self._answer_seconds,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if together.given_up.done():
            await asyncio.wait({handed.answer}, timeout=LAST_WORD_SECONDS)
        return handed.answer.done() and not isinstance(handed.answer.exception(), OutcomeUnknown)

    async def _parked(self, attempt: Attempt, handed: HandedOver, letters: int, together: _Batch) -> Outcome:
        """Records that the letter is unconfirmed and leaves it to its answer; its event comes back later."""
        message_id = handed.message_id
        await waiting_out(lambda: self._store.mark_unconfirmed(attempt, letters, message_id), self._random)
        await self._unconfirmed.follow(attempt, handed, together.given_up)
        return Retry(reason="unconfirmed", error="no answer yet", delay_seconds=ASK_AGAIN_SECONDS)

    async def _released(self, attempt: Attempt, outcome: Retry | Dead) -> Retry | Dead:
        await waiting_out(lambda: self._store.release(attempt, outcome.error), self._random)
        return outcome
