"""From events to notifications: claim, send, mark as sent, and only then ack.

A notification can go out twice when the notifier dies between send and mark: one letter, or one group of
those whose receivers can tell a repetition. It can also go out twice when the receiving side never answers:
after ten seconds a letter is recorded as unconfirmed and its event waits in a retry tier, while the answer
may come for minutes. If it does not, one more letter goes, and no third.

While the way to the customers is shut for all of them, the batch is given back unsent and waits, and no
attempt counts. While the store is silent the same attempts ask again: it may have granted a claim whose
answer was lost, and others would wait for that lease to end.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from notifier.batches import ClaimedEvent, NotificationBatch, attempts_at
from notifier.collecting import LetterCollector
from notifier.ports import Claimed, LetterQuota, NoClaim, NotificationStore, Sender
from notifier.sending import Dispatcher
from notifier.unconfirmed import UnconfirmedLetters
from shared.cancellation import finishing
from shared.messaging.handlers import Incoming
from shared.messaging.retry import Outcome, Retry
from shared.messaging.waiting import waiting_out

LETTER_IN_HAND_SECONDS: Final = 3.0
"""What a drain that is out of time grants to finish and to record the letter in hand."""


class NotificationHandler:
    """Sends what a batch of events calls for: letters ``sends_at_once`` at a time, groups one by one.

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
        quota: LetterQuota | None = None,
        sends_at_once: int = 1,
    ) -> None:
        self._store = store
        self._sender = sender
        self._lease_seconds = lease_seconds
        self._sends_at_once = sends_at_once
        self._dispatcher = dispatcher = Dispatcher(
            store=store,
            sender=sender,
            unconfirmed=unconfirmed,
            lease_seconds=lease_seconds,
            answer_seconds=answer_seconds,
        )
        self._collector: LetterCollector | None = None
        if quota is not None:
            self._collector = LetterCollector(store=store, sender=sender, quota=quota, dispatcher=dispatcher)

    async def __call__(self, messages: Sequence[Incoming]) -> Sequence[Outcome]:
        """One outcome each. What was sent before is not sent again.

        Raises SenderUnavailable, or what went wrong with one of them, once everything that was sent is marked
        and the rest is given back: another notifier that gets it then need not wait for a lease.
        """
        attempts = attempts_at([incoming.event for incoming in messages], self._sender)
        claims = await waiting_out(lambda: self._store.claim(attempts))
        batch = NotificationBatch(asyncio.get_running_loop().create_future())
        for attempt, claim, incoming in zip(attempts, claims, messages, strict=True):
            batch.add(ClaimedEvent(attempt, claim, incoming))
        await finishing(self._conclude_all(batch), LETTER_IN_HAND_SECONDS, batch.give_up)
        if batch.trouble is not None:
            unsent, text = batch.unsent, str(batch.trouble)
            if unsent:
                await waiting_out(lambda: self._store.give_back(unsent, text))
            raise batch.trouble
        return [batch.outcomes[attempt.owner] for attempt in attempts]

    async def _conclude_all(self, batch: NotificationBatch) -> None:
        async def in_turn() -> None:
            while batch.waiting:
                await self._conclude([batch.waiting.pop(next(iter(batch.waiting)))], batch)

        async def in_groups() -> None:
            for group in batch.groups:
                await self._conclude(group, batch)

        await asyncio.gather(in_groups(), *(in_turn() for _ in range(self._sends_at_once)))

    async def _conclude(self, turn: Sequence[ClaimedEvent], batch: NotificationBatch) -> None:
        """Notes what became of those whose turn it is, and of others that went with them."""
        try:
            if not batch.has_ended():
                turn = await self._renewed(turn)
            ready = [each for each in turn if isinstance(each.claim, Claimed)]
            if batch.has_ended():
                batch.unsent += [each.attempt for each in ready]
            elif ready:
                await self._send(ready, batch)
            for claimed in turn:
                if not isinstance(claimed.claim, Claimed):
                    await self._settle(claimed, claimed.claim, batch)
        except Exception as error:  # noqa: BLE001 - raised for the whole batch, and judged by the router
            batch.trouble = batch.trouble or error

    async def _renewed(self, turn: Sequence[ClaimedEvent]) -> Sequence[ClaimedEvent]:
        """The claims, taken again if their turn came late in their lease."""
        latest = time.monotonic() + self._lease_seconds / 2
        late = [
            each.attempt for each in turn if isinstance(each.claim, Claimed) and each.claim.until < latest
        ]
        if not late:
            return turn
        claims = await waiting_out(lambda: self._store.claim(late))
        fresh = {attempt.owner: claim for attempt, claim in zip(late, claims, strict=True)}
        return [replace(each, claim=fresh.get(each.attempt.owner, each.claim)) for each in turn]

    async def _send(self, ready: Sequence[ClaimedEvent], batch: NotificationBatch) -> None:
        first, *others = ready
        if others or first.most_unmarked > 1:
            await self._dispatcher.send_group([each.attempt for each in ready], batch)
        elif isinstance(first.claim, Claimed):
            if self._collector is not None:
                await self._collector.send(first, first.claim, batch)
            else:
                await self._dispatcher.send_letter([first.attempt], first.claim.unconfirmed, batch)

    async def _settle(self, claimed: ClaimedEvent, claim: NoClaim, batch: NotificationBatch) -> None:
        outcome = await self._dispatcher.outcome_without(claimed, claim)
        batch.outcomes[claimed.attempt.owner] = outcome
        if self._collector is not None and claimed.was_collected and not isinstance(outcome, Retry):
            await self._collector.forget([claimed.attempt])
