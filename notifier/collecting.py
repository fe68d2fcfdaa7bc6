"""One address gets a bounded number of letters an hour.

Events beyond it wait in a retry tier, which costs them no attempt, and those that come back together share
one letter.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from notifier.batches import COLLECTED, ClaimedEvent, NotificationBatch, attempts_at
from notifier.domain import address_of
from notifier.ports import Attempt, Claimed, DeclinedByCustomer, LetterQuota, NotificationStore, Sender
from notifier.sending import Dispatcher
from shared.messaging.retry import Retry
from shared.messaging.waiting import waiting_out
from shared.pipeline import RETRY_TIERS_SECONDS

COLLECT_SECONDS: Final = 5.0
"""How long an event waits at least whose address gets too many letters, so that others join it."""


class LetterCollector:
    """Sends a letter where its address may have one, and otherwise lets its event wait for company."""

    def __init__(
        self,
        *,
        store: NotificationStore,
        sender: Sender,
        quota: LetterQuota,
        dispatcher: Dispatcher,
    ) -> None:
        self._store = store
        self._sender = sender
        self._quota = quota
        self._dispatcher = dispatcher

    async def send(self, claimed: ClaimedEvent, claim: Claimed, batch: NotificationBatch) -> None:
        """Sends a letter about one event, or about all that wait for one to the same address."""
        notification, is_collected = claimed.attempt.notification, claimed.was_collected
        address = address_of(notification)
        if address is None:
            await self._dispatcher.send_letter([claimed.attempt], claim.unconfirmed, batch)
            return
        letter_id = f"{notification.id}.collected" if is_collected else notification.id
        wait_seconds = await waiting_out(
            lambda: self._quota.take(address, letter_id, is_collected=is_collected)
        )
        if wait_seconds:
            batch.outcomes[claimed.attempt.owner] = await self._put_off(claimed, address, wait_seconds)
            return
        attempts = [claimed.attempt]
        if is_collected:
            attempts += await self._joining(address, claimed.attempt, claim.unconfirmed, batch)
        outcome = await self._dispatcher.send_letter(attempts, claim.unconfirmed, batch)
        if is_collected and isinstance(outcome, Retry):
            again = replace(outcome, reason=COLLECTED)
            batch.outcomes |= dict.fromkeys((attempt.owner for attempt in attempts), again)
        elif is_collected:
            await self.forget(attempts)

    async def forget(self, attempts: Sequence[Attempt]) -> None:
        """Takes them, who have one address, off the list of those that wait for its next letter."""
        address = address_of(attempts[0].notification)
        if address is not None:
            ids = [attempt.notification.id for attempt in attempts]
            await waiting_out(lambda: self._quota.forget(address, ids))

    async def _put_off(self, claimed: ClaimedEvent, address: str, wait_seconds: float) -> Retry:
        events = {claimed.attempt.notification.id: claimed.incoming.event}
        await waiting_out(lambda: self._quota.collect(address, events))
        await waiting_out(lambda: self._store.hold_back([claimed.attempt]))
        return Retry(
            reason=COLLECTED,
            error="too many letters to one address",
            delay_seconds=min(max(wait_seconds, COLLECT_SECONDS), RETRY_TIERS_SECONDS[-1]),
        )

    async def _joining(
        self, address: str, leader: Attempt, unconfirmed: int, batch: NotificationBatch
    ) -> Sequence[Attempt]:
        """The other events that wait for a letter to the address, claimed. Some may be of this batch; what is
        declined by now is over."""
        listed = await waiting_out(lambda: self._quota.collected(address))
        own = {
            each.attempt.notification.id: each
            for each in batch.waiting.values()
            if isinstance(each.claim, Claimed)
        }
        taken = [own[event.id] for event in listed if event.id in own]
        for each in taken:
            del batch.waiting[each.attempt.owner]
        known = {leader.notification.id, *own}
        attempts = [each.attempt for each in taken]
        attempts += attempts_at([event for event in listed if event.id not in known], self._sender)
        claims = await waiting_out(lambda: self._store.claim(attempts)) if attempts else ()
        fresh = {attempt.owner: claim for attempt, claim in zip(attempts, claims, strict=True)}
        joined = {
            attempt.owner: attempt
            for attempt in attempts
            if isinstance(claim := fresh[attempt.owner], Claimed) and claim.unconfirmed == unconfirmed
        }
        for attempt in attempts:
            if isinstance(declined := fresh[attempt.owner], DeclinedByCustomer):
                await self._dispatcher.settle(attempt, declined)
        alone = {each.attempt.owner: each for each in taken if each.attempt.owner not in joined}
        batch.waiting |= {owner: replace(each, claim=fresh[owner]) for owner, each in alone.items()}
        return list(joined.values())
