"""Sending, and recording how it ended: marked as sent, released for another try, or parked as unconfirmed.

A notification goes out twice when the notifier dies between send and mark. Where receivers cannot tell a
repetition, as of mail, each letter is marked before the next is begun. Where they can, as in the log, whose
every line has the event's id, a group goes out and is marked in one round trip (``MOST_UNMARKED``).
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from notifier.batches import COLLECTED, ClaimedEvent, NotificationBatch
from notifier.domain import Notification, collected
from notifier.leases import LeaseRenewal
from notifier.ports import (
    AlreadySent,
    Attempt,
    DeclinedByCustomer,
    Exhausted,
    HandedOver,
    HeldByAnother,
    NoClaim,
    NotificationStore,
    OutcomeUnknown,
    RefusedLate,
    Sender,
    UnreadableClaim,
)
from notifier.unconfirmed import UnconfirmedLetters
from shared.errors import PermanentError, RetryableError, SenderUnavailable, StoreUnavailable
from shared.failpoints import failpoint
from shared.logs import get_logger
from shared.messaging.retry import Dead, Done, Outcome, Retry, outcome_of_error
from shared.messaging.waiting import waiting_out
from shared.tracing import part

LAST_WORD_SECONDS: Final = 1.0
"""How long a drain that is out of time waits for the answer to a letter in hand."""
ASK_AGAIN_SECONDS: Final = 30.0
"""How often the event of an unconfirmed letter comes back to see whether the answer has come."""
LOST_CLAIM: Final = "another notifier tells of one of the orders"

log = get_logger(__name__)


class Dispatcher:
    """Sends what is claimed, and waits for ``answer_seconds`` before a letter counts as unconfirmed."""

    def __init__(
        self,
        *,
        store: NotificationStore,
        sender: Sender,
        unconfirmed: UnconfirmedLetters,
        lease_seconds: float,
        answer_seconds: float,
    ) -> None:
        self._store = store
        self._sender = sender
        self._unconfirmed = unconfirmed
        self._lease_seconds = lease_seconds
        self._answer_seconds = answer_seconds

    async def send_group(self, attempts: Sequence[Attempt], batch: NotificationBatch) -> None:
        """Sends each of them, then marks all that went out in one round trip.

        Raises what kept the rest of them from being sent, once those are marked.
        """
        outcomes: dict[str, Outcome] = {}
        renewal = LeaseRenewal(self._store, attempts, self._lease_seconds / 3)
        try:
            trouble = await self._send_each(attempts, outcomes, batch)
            await self._sender.flush()
        except SenderUnavailable:
            batch.unsent += attempts
            raise
        finally:
            await renewal.end()
        batch.unsent += [each for each in attempts if each.owner not in outcomes]
        await self._mark([each for each in attempts if isinstance(outcomes.get(each.owner), Done)])
        batch.outcomes |= outcomes
        if trouble is not None:
            raise trouble

    async def send_letter(
        self, attempts: Sequence[Attempt], unconfirmed: int, batch: NotificationBatch
    ) -> Outcome:
        """Sends one letter about all of them, and notes that outcome for each."""
        notification = attempts[0].notification
        if len(attempts) > 1:
            notification = collected([attempt.notification for attempt in attempts])
        try:
            outcome = await self._send_and_mark(notification, attempts, unconfirmed, batch)
        except SenderUnavailable:
            batch.unsent += attempts
            raise
        batch.outcomes |= dict.fromkeys((attempt.owner for attempt in attempts), outcome)
        return outcome

    async def outcome_without(self, claimed: ClaimedEvent, claim: NoClaim) -> Outcome:
        """What becomes of an event that was not to be claimed: nothing is sent about it now."""
        attempt = claimed.attempt
        match claim:
            case AlreadySent():
                return Done()
            case RefusedLate(error=error, is_final=True):
                return Dead(reason="undeliverable", error=error)
            case RefusedLate(error=error):
                return Retry(reason="send_failed", error=error)
            case Exhausted() | DeclinedByCustomer() as ended:
                if isinstance(ended, Exhausted):
                    log.warning("sent, unconfirmed", event_id=attempt.notification.id)
                await self.settle(attempt, ended)
                return Done()
            case HeldByAnother(seconds=seconds):
                reason = COLLECTED if claimed.was_collected else "claimed_elsewhere"
                return Retry(reason=reason, delay_seconds=min(seconds, ASK_AGAIN_SECONDS))
            case UnreadableClaim(error=error):
                return Dead(reason="permanent_error", error=error)

    async def settle(self, attempt: Attempt, claim: Exhausted | DeclinedByCustomer) -> None:
        """Nothing is sent about it any more."""
        await waiting_out(lambda: self._store.settle(attempt, claim))

    async def _send_each(
        self, attempts: Sequence[Attempt], outcomes: dict[str, Outcome], batch: NotificationBatch
    ) -> Exception | None:
        """Adds the outcome of each in turn; returns what kept the rest from being sent."""
        try:
            for attempt in attempts:
                outcomes[attempt.owner] = await self._send(attempt.notification, [attempt], 1, batch)
        except Exception as error:  # noqa: BLE001 - raised once those before it are marked
            return error
        return None

    async def _send_and_mark(
        self,
        notification: Notification,
        attempts: Sequence[Attempt],
        unconfirmed: int,
        batch: NotificationBatch,
    ) -> Outcome:
        if unconfirmed == 1 and not await waiting_out(lambda: self._store.begin_last(attempts)):
            await waiting_out(lambda: self._store.give_back(attempts, LOST_CLAIM))
            return Retry(reason="claimed_elsewhere", delay_seconds=self._lease_seconds)
        renewal = LeaseRenewal(self._store, attempts, self._lease_seconds / 3)
        try:
            outcome = await self._send(notification, attempts, unconfirmed + 1, batch)
            await self._sender.flush()
        finally:
            await renewal.end()
        if isinstance(outcome, Done):
            await self._mark(attempts)
        return outcome

    async def _mark(self, attempts: Sequence[Attempt]) -> None:
        if attempts:
            failpoint("between_send_and_mark")
            await waiting_out(lambda: self._store.mark_sent(attempts))

    async def _send(
        self, notification: Notification, attempts: Sequence[Attempt], letters: int, batch: NotificationBatch
    ) -> Outcome:
        with part("send", "client", about=attempts[0].notification.id):
            return await self._sent(notification, attempts, letters, batch)

    async def _sent(
        self, notification: Notification, attempts: Sequence[Attempt], letters: int, batch: NotificationBatch
    ) -> Outcome:
        handed = None
        try:
            handed = await self._sender.send(notification)
            if handed is not None:
                if not await self._is_answered(handed, batch):
                    return await self._parked(attempts, handed, letters, batch)
                handed.answer.result()
        except asyncio.CancelledError:
            if handed is not None:
                handed.answer.cancel()
            elif letters > 1:  # noted as the last one, and not handed over: it did not go
                with contextlib.suppress(StoreUnavailable):
                    await self._store.give_back(attempts, "the notifier was ended")
            raise
        except SenderUnavailable:
            raise
        except PermanentError as error:
            return await self._released(attempts, Dead(reason="undeliverable", error=str(error)))
        except RetryableError as error:
            return await self._released(attempts, Retry(reason="send_failed", error=str(error)))
        except Exception as error:  # a fault of the sender's over one message is not its neighbours'
            log.exception("sender failed", event_id=notification.id)
            return await self._released(attempts, outcome_of_error(error))
        return Done()

    async def _is_answered(self, handed: HandedOver, batch: NotificationBatch) -> bool:
        """Whether the answer came in time and says what became of the letter."""
        await asyncio.wait(
            {handed.answer, batch.given_up},
            timeout=self._answer_seconds,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if batch.given_up.done():
            await asyncio.wait({handed.answer}, timeout=LAST_WORD_SECONDS)
        return handed.answer.done() and not isinstance(handed.answer.exception(), OutcomeUnknown)

    async def _parked(
        self, attempts: Sequence[Attempt], handed: HandedOver, letters: int, batch: NotificationBatch
    ) -> Outcome:
        """Records that the letter is unconfirmed and leaves it to its answer; its events come back later."""
        message_id = handed.message_id
        await waiting_out(lambda: self._store.mark_unconfirmed(attempts, letters, message_id))
        await self._unconfirmed.follow(attempts, handed, batch.given_up)
        return Retry(reason="unconfirmed", error="no answer yet", delay_seconds=ASK_AGAIN_SECONDS)

    async def _released(self, attempts: Sequence[Attempt], outcome: Retry | Dead) -> Retry | Dead:
        await waiting_out(lambda: self._store.release(attempts, outcome.error))
        return outcome
