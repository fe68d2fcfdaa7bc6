"""Looking at dead letters and acting on them, one at a time.

Each letter is about one event. A batch, which only the broker itself can have moved here, is split first: its
events are put behind the other letters, and then it goes.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from dashboard.dead_letters.actions import Acted, Action, DryRun, Outcome
from dashboard.dead_letters.letter import SHOWN_BODY_BYTES, Letter, Wanted, read_letter
from dashboard.dead_letters.ports import Turns
from dashboard.dead_letters.trail import AuditEntry, RedisAuditTrail
from shared.errors import BrokerUnavailable, StoreUnavailable
from shared.logs import get_logger
from shared.messages import split
from shared.messaging.dead_letters import DeadLetterBox, Letters
from shared.messaging.ports import Delivery, Publisher
from shared.messaging.settlement import single

BATCH: Final = 64
LIST_BYTES: Final = 1_048_576
BYTES_BESIDE_BODY: Final = 2_048
"""What a letter takes in a list besides its body."""

log = get_logger(__name__)


@dataclass(slots=True)
class Looked:
    """What a look came to. ``waiting`` is how many letters lay in each queue; ``complete`` is false if some
    of them lie too deep to be seen; ``limited`` is true if more were wanted than was asked for, or
    than an answer has ``room`` for, in bytes."""

    letters: list[Letter] = field(default_factory=list)
    waiting: dict[str, int] = field(default_factory=dict)
    complete: bool = True
    limited: bool = False
    room: int = LIST_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What to do to which letters, ``limit`` at most, and for whom."""

    action: Action
    wanted: Wanted
    client: str
    limit: int | None = None


@dataclass(slots=True)
class Tally:
    """What an errand came to, in the words of :class:`Looked`. ``fault`` is what stopped it, if anything."""

    matched: int = 0
    done: int = 0
    failed: int = 0
    complete: bool = True
    limited: bool = False
    fault: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be done."""
        return self.limited or self.fault is not None


class Report(Protocol):
    """Is told how an errand goes on."""

    async def opened(self, queue: str, waiting: int) -> None:
        """A queue with so many letters is being gone through."""

    async def acted(self, results: Sequence[Acted]) -> None:
        """These letters are dealt with; those that are done are removed."""


class DeadLetterDesk:
    """The one way to the dead letters."""

    def __init__(
        self,
        *,
        box: DeadLetterBox,
        publisher: Publisher,
        turns: Turns,
        trail: RedisAuditTrail,
        clock: Callable[[], float],
    ) -> None:
        self._box = box
        self._publisher = publisher
        self._turns = turns
        self._trail = trail
        self._clock = clock

    def now(self) -> int:
        """Microseconds since the epoch."""
        return round(self._clock() * 1_000_000)

    async def look(self, wanted: Wanted, limit: int) -> Looked:
        """The letters that are wanted, ``limit`` at most, queue by queue, in the order in which they lie.

        Raises BrokerUnavailable, DeadLettersBusy and StoreUnavailable.
        """
        looked = Looked()
        async with self._turns.turn():
            for queue in wanted.queues:
                async with self._box.look_into(queue) as letters:
                    await self._collect(queue, letters, wanted, limit, looked)
                    looked.waiting[queue] = letters.waiting - letters.removed
        return looked

    async def act(self, errand: Errand, report: Report | None = None) -> Tally:
        """Runs an errand. It stops at the first fault of a dependency.

        Raises BrokerUnavailable, DeadLettersBusy and StoreUnavailable while nothing has been done.
        """
        tally = Tally()
        async with self._turns.turn():
            for queue in errand.wanted.queues:
                try:
                    await self._go_through(queue, errand, report, tally)
                except (BrokerUnavailable, StoreUnavailable) as error:
                    if tally.done == 0:
                        raise
                    tally.fault = str(error)
                if tally.is_over:
                    tally.complete &= tally.fault is None
                    break
        return tally

    async def _collect(
        self, queue: str, letters: Letters, wanted: Wanted, limit: int, looked: Looked
    ) -> None:
        now = self.now()
        while not looked.limited and (batch := await self._next(queue, letters)):
            for delivery in batch:
                letter = read_letter(queue, delivery)
                if not wanted.includes(letter, now):
                    continue
                looked.room -= BYTES_BESIDE_BODY + min(len(delivery.body), SHOWN_BODY_BYTES)
                looked.limited = len(looked.letters) >= limit or (looked.room < 0 and bool(looked.letters))
                if looked.limited:
                    break
                looked.letters.append(letter)
        looked.complete &= looked.limited or letters.all_seen

    async def _go_through(self, queue: str, errand: Errand, report: Report | None, tally: Tally) -> None:
        now = self.now()
        async with self._box.look_into(queue) as letters:
            if report is not None:
                await report.opened(queue, letters.waiting)
            while not tally.is_over and (batch := await self._next(queue, letters)):
                read = [read_letter(queue, delivery) for delivery in batch]
                chosen = [letter for letter in read if errand.wanted.includes(letter, now)]
                if errand.limit is not None and tally.matched + len(chosen) > errand.limit:
                    chosen, tally.limited = chosen[: errand.limit - tally.matched], True
                if chosen:
                    results = await self._deal_with(chosen, errand, letters, tally)
                    if report is not None:
                        await report.acted(results)
            tally.complete &= tally.limited or letters.all_seen

    async def _next(self, queue: str, letters: Letters) -> Sequence[Delivery]:
        """The next letters of one event each; none once all have been seen."""
        while batch := await letters.next(BATCH):
            alone = [each for each in batch if not await self._is_split(queue, each, letters)]
            if alone:
                return alone
        return ()

    async def _is_split(self, queue: str, delivery: Delivery, letters: Letters) -> bool:
        """Whether the letter was a batch, whose events come later. A crash in between leaves copies."""
        bodies = split(delivery.body)
        if bodies == [delivery.body]:
            return False
        events = [single(delivery, queue, body) for body in bodies]
        await asyncio.gather(*map(self._publisher.publish, events))
        await letters.replace(delivery, len(events))
        log.warning("split a batch among the dead letters", queue=queue, count=len(events))
        return True

    async def _deal_with(
        self, chosen: Sequence[Letter], errand: Errand, letters: Letters, tally: Tally
    ) -> Sequence[Acted]:
        results = await errand.action.carry_out(chosen)
        if not isinstance(errand.action, DryRun):
            await self._write_down(errand, results)
        for result in results:
            if result.is_done:
                await letters.remove(result.letter.delivery)
                tally.done += 1
        tally.matched += len(results)
        tally.failed += sum(result.outcome is Outcome.FAILED for result in results)
        tally.fault = next((result.fault for result in results if result.fault), None)
        return results

    async def _write_down(self, errand: Errand, results: Sequence[Acted]) -> None:
        """Before the letters are removed, so that none ever goes without a word."""
        for result in results:
            _audit(errand, result)
        await self._trail.add(
            [
                AuditEntry(
                    action=errand.action.name,
                    outcome=result.outcome.value,
                    detail=result.detail,
                    letter_id=result.letter.id,
                    order_id=result.letter.order_id or "",
                    reason=result.letter.reason,
                    by=errand.client,
                )
                for result in results
            ]
        )


def _audit(errand: Errand, result: Acted) -> None:
    """The request's correlation id is in every log line of the request; the order's own stands beside it.

    A warning, so that it is written whatever is thought too chatty to be logged.
    """
    letter = result.letter
    log.warning(
        "audit",
        action=errand.action.name,
        outcome=result.outcome.value,
        detail=result.detail,
        letter_id=letter.id,
        order_id=letter.order_id,
        reason=letter.reason,
        order_correlation_id=letter.delivery.correlation_id,
        client=errand.client,
    )
