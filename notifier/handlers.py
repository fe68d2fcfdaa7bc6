"""From events to notifications: claim, send, mark as sent, and only then ack.

A notification can go out twice when the notifier dies between send and mark, so each is marked before the
turn passes on: one turn, the default, means one extra notification at most per crash. It can also go out
twice when the receiving side never answers: after ten seconds a letter is recorded as unconfirmed and its
event waits in a retry tier, while the answer may come for minutes. If it does not, one more letter goes, and
no third.

One address gets a bounded number of letters an hour. Events beyond it wait in a retry tier, which costs them
no attempt, and those that come back together share one letter.

While the way to the customers is shut for all of them, the batch is given back unsent and waits, and no
attempt counts. While the store is silent the same attempts ask again: it may have granted a claim whose
answer was lost, and others would wait for that lease to end.
"""

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from notifier.domain import Notification, address_of, collected, notification_of
from notifier.leases import LeaseRenewal
from notifier.ports import (
    AlreadySent,
    Attempt,
    Claim,
    Claimed,
    Exhausted,
    HandedOver,
    HeldByAnother,
    LetterQuota,
    NotificationStore,
    OutcomeUnknown,
    RefusedLate,
    Sender,
    UnreadableClaim,
)
from notifier.unconfirmed import UnconfirmedLetters
from shared.cancellation import finishing
from shared.errors import PermanentError, RetryableError, SenderUnavailable, StoreUnavailable
from shared.failpoints import failpoint
from shared.logs import get_logger
from shared.messages import Event, EventData
from shared.messaging.retry import Dead, Done, Outcome, Retry, outcome_of_error
from shared.messaging.router import Incoming
from shared.messaging.waiting import waiting_out
from shared.pipeline import RETRY_TIERS_SECONDS

LAST_WORD_SECONDS: Final = 1.0
"""How long a drain that is out of time waits for the answer to a letter in hand."""
LETTER_IN_HAND_SECONDS: Final = 3.0
"""What such a drain grants to finish and to record that letter."""
ASK_AGAIN_SECONDS: Final = 30.0
"""How often the event of an unconfirmed letter comes back to see whether the answer has come."""
COLLECTED: Final = "letters_per_hour"
"""Why an event waits whose address gets too many letters; those that come back together share one."""
COLLECT_SECONDS: Final = 5.0
"""How long such an event waits at least, so that others join it."""
LOST_CLAIM: Final = "another notifier tells of one of the orders"

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Claimed:
    """One message of a batch, with the answer to its claim."""

    attempt: Attempt
    claim: Claim
    incoming: Incoming

    @property
    def was_collected(self) -> bool:
        """Whether it has waited because its address gets too many letters."""
        return self.incoming.history.reason == COLLECTED


@dataclass(slots=True)
class _Batch:
    """What the messages of a batch share.

    ``waiting`` have not had their turn, by the owner of their attempt, as ``outcomes`` are. ``trouble`` is
    why nothing more is begun: the way is shut, or the store could not say how a sending ended. ``unsent``
    are claimed, and were not begun or met the shut way.
    """

    given_up: "asyncio.Future[None]"
    waiting: dict[str, _Claimed]
    outcomes: dict[str, Outcome] = field(default_factory=dict)
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

    ``answer_seconds`` is how long a letter is waited for before it counts as unconfirmed; ``quota`` bounds
    the letters to one address, if anything does.
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
        quota: LetterQuota | None = None,
        sends_at_once: int = 1,
    ) -> None:
        self._store = store
        self._sender = sender
        self._unconfirmed = unconfirmed
        self._lease_seconds = lease_seconds
        self._answer_seconds = answer_seconds
        self._random = random_
        self._quota = quota
        self._sends_at_once = sends_at_once

    async def __call__(self, batch: Sequence[Incoming]) -> Sequence[Outcome]:
        """One outcome each. What was sent before is not sent again.

        Raises SenderUnavailable, or what went wrong with one of them, once everything that was sent is marked
        and the rest is given back: another notifier that gets it then need not wait for a lease.
        """
        attempts = [self._attempt_at(incoming.event) for incoming in batch]
        claims = await waiting_out(lambda: self._store.claim(attempts), self._random)
        waiting = {
            attempt.owner: _Claimed(attempt, claim, incoming)
            for attempt, claim, incoming in zip(attempts, claims, batch, strict=True)
        }
        together = _Batch(asyncio.get_running_loop().create_future(), waiting)
        await finishing(self._conclude_all(together), LETTER_IN_HAND_SECONDS, together.give_up)
        if together.trouble is not None:
            unsent, text = together.unsent, str(together.trouble)
            if unsent:
                await waiting_out(lambda: self._store.give_back(unsent, text), self._random)
            raise together.trouble
        return [together.outcomes[attempt.owner] for attempt in attempts]

    def _attempt_at(self, event: Event[EventData]) -> Attempt:
        notification = notification_of(event)
        channel = self._sender.channel_for(notification)
        return Attempt(notification=notification, owner=secrets.token_hex(8), channel=channel)

    async def _conclude_all(self, together: _Batch) -> None:
        async def in_turn() -> None:
            while together.waiting:
                await self._conclude(together.waiting.pop(next(iter(together.waiting))), together)

        await asyncio.gather(*(in_turn() for _ in range(self._sends_at_once)))

    async def _conclude(self, claimed: _Claimed, together: _Batch) -> None:
        """Notes what became of one message, and of others that went with it, where that is known."""
        attempt, claim = claimed.attempt, claimed.claim
        try:
            if not together.has_ended():
                claim = await self._renewed(attempt, claim)
            if not isinstance(claim, Claimed):
                outcome = await self._without_sending(claimed, claim)
                together.outcomes[attempt.owner] = outcome
                if claimed.was_collected and not isinstance(outcome, Retry):
                    await self._forget([attempt])
            elif together.has_ended():
                together.unsent.append(attempt)
            else:
                await self._send_or_collect(claimed, claim, together)
        except Exception as error:  # noqa: BLE001 - raised for the whole batch, and judged by the router
            together.trouble = together.trouble or error

    async def _renewed(self, attempt: Attempt, claim: Claim) -> Claim:
        """The claim, taken again if its turn came late in its lease."""
        if isinstance(claim, Claimed) and claim.until < time.monotonic() + self._lease_seconds / 2:
            (claim,) = await waiting_out(lambda: self._store.claim([attempt]), self._random)
        return claim

    async def _without_sending(
        self,
        claimed: _Claimed,
        claim: AlreadySent | RefusedLate | Exhausted | HeldByAnother | UnreadableClaim,
    ) -> Outcome:
        attempt = claimed.attempt
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
                reason = COLLECTED if claimed.was_collected else "claimed_elsewhere"
                return Retry(reason=reason, delay_seconds=min(seconds, ASK_AGAIN_SECONDS))
            case UnreadableClaim(error=error):
                return Dead(reason="permanent_error", error=error)

    async def _send_or_collect(self, claimed: _Claimed, claim: Claimed, together: _Batch) -> None:
        """Sends a letter about one event, or about all that wait for one to the same address."""
        quota, notification = self._quota, claimed.attempt.notification
        address = address_of(notification) if quota is not None else None
        if quota is None or address is None:
            await self._send_letter([claimed.attempt], claim.unconfirmed, together)
            return
        is_collected = claimed.was_collected
        letter_id = f"{notification.id}.collected" if is_collected else notification.id
        wait_seconds = await waiting_out(
            lambda: quota.take(address, letter_id, is_collected=is_collected), self._random
        )
        if wait_seconds:
            events = {notification.id: claimed.incoming.event}
            await waiting_out(lambda: quota.collect(address, events), self._random)
            await waiting_out(lambda: self._store.hold_back([claimed.attempt]), self._random)
            together.outcomes[claimed.attempt.owner] = Retry(
                reason=COLLECTED,
                error="too many letters to one address",
                delay_seconds=min(max(wait_seconds, COLLECT_SECONDS), RETRY_TIERS_SECONDS[-1]),
            )
            return
        attempts = [claimed.attempt]
        if is_collected:
            attempts += await self._joining(quota, address, claimed.attempt, claim.unconfirmed, together)
        outcome = await self._send_letter(attempts, claim.unconfirmed, together)
        if is_collected and isinstance(outcome, Retry):
            again = replace(outcome, reason=COLLECTED)
            together.outcomes |= dict.fromkeys((attempt.owner for attempt in attempts), again)
        elif is_collected:
            await self._forget(attempts)

    async def _forget(self, attempts: Sequence[Attempt]) -> None:
        """Takes them, who have one address, off the list of those that wait for its next letter."""
        quota, address = self._quota, address_of(attempts[0].notification)
        if quota is not None and address is not None:
            ids = [attempt.notification.id for attempt in attempts]
            await waiting_out(lambda: quota.forget(address, ids), self._random)

    async def _joining(
        self, quota: LetterQuota, address: str, leader: Attempt, unconfirmed: int, together: _Batch
    ) -> Sequence[Attempt]:
        """The other events that wait for a letter to the address, claimed. Some may be of this batch."""
        listed = await waiting_out(lambda: quota.collected(address), self._random)
        own = {
            each.attempt.notification.id: each
            for each in together.waiting.values()
            if isinstance(each.claim, Claimed)
        }
        taken = [own[event.id] for event in listed if event.id in own]
        for each in taken:
            del together.waiting[each.attempt.owner]
        known = {leader.notification.id, *own}
        attempts = [each.attempt for each in taken]
        attempts += [self._attempt_at(event) for event in listed if event.id not in known]
        claims = await waiting_out(lambda: self._store.claim(attempts), self._random) if attempts else ()
        joined = {
            attempt.owner: attempt
            for attempt, claim in zip(attempts, claims, strict=True)
            if isinstance(claim, Claimed) and claim.unconfirmed == unconfirmed
        }
        together.waiting |= {each.attempt.owner: each for each in taken if each.attempt.owner not in joined}
        return list(joined.values())

    async def _send_letter(self, attempts: Sequence[Attempt], unconfirmed: int, together: _Batch) -> Outcome:
        """Sends one letter about all of them, and notes that outcome for each."""
        notification = attempts[0].notification
        if len(attempts) > 1:
            notification = collected([attempt.notification for attempt in attempts])
        try:
            outcome = await self._send_and_mark(notification, attempts, unconfirmed, together)
        except SenderUnavailable:
            together.unsent += attempts
            raise
        together.outcomes |= dict.fromkeys((attempt.owner for attempt in attempts), outcome)
        return outcome

    async def _send_and_mark(
        self,
        notification: Notification,
        attempts: Sequence[Attempt],
        unconfirmed: int,
        together: _Batch,
    ) -> Outcome:
        if unconfirmed == 1 and not await waiting_out(lambda: self._store.begin_last(attempts), self._random):
            await waiting_out(lambda: self._store.give_back(attempts, LOST_CLAIM), self._random)
            return Retry(reason="claimed_elsewhere", delay_seconds=self._lease_seconds)
        renewal = LeaseRenewal(self._store, attempts, self._lease_seconds / 3)
        try:
            outcome = await self._send(notification, attempts, unconfirmed + 1, together)
        finally:
            await renewal.end()
        if isinstance(outcome, Done):
            failpoint("between_send_and_mark")
            await waiting_out(lambda: self._store.mark_sent(attempts), self._random)
        return outcome

    async def _send(
        self, notification: Notification, attempts: Sequence[Attempt], letters: int, together: _Batch
    ) -> Outcome:
        handed = None
        try:
            handed = await self._sender.send(notification)
            if handed is not None:
                if not await self._is_answered(handed, together):
                    return await self._parked(attempts, handed, letters, together)
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

    async def _parked(
        self, attempts: Sequence[Attempt], handed: HandedOver, letters: int, together: _Batch
    ) -> Outcome:
        """Records that the letter is unconfirmed and leaves it to its answer; its events come back later."""
        message_id = handed.message_id
        await waiting_out(lambda: self._store.mark_unconfirmed(attempts, letters, message_id), self._random)
        await self._unconfirmed.follow(attempts, handed, together.given_up)
        return Retry(reason="unconfirmed", error="no answer yet", delay_seconds=ASK_AGAIN_SECONDS)

    async def _released(self, attempts: Sequence[Attempt], outcome: Retry | Dead) -> Retry | Dead:
        await waiting_out(lambda: self._store.release(attempts, outcome.error), self._random)
        return outcome
