"""What can be done about dead letters: send them back to their consumer, drop them, or erase them.

Each goes in steps of which a crash between any two is repeated harmlessly: what is written to the order says
no more than is true, what is published may come twice because consumers look up what they did before, and the
letter is removed last, by whoever called.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from dashboard.dead_letters.letter import Letter, read_letter
from shared.errors import BrokerUnavailable, DecodeError, StoreUnavailable
from shared.logs import get_logger
from shared.messages import Event, EventData, OrderPlaced, content_fingerprint, decode
from shared.messaging.ports import OutgoingMessage, Publisher
from shared.messaging.redrive import redriven_headers
from shared.messaging.settlement import message_of
from shared.orders.decisions import OTHER_CONTENT, Cancelled, Decision, Undecidable, event_of
from shared.orders.ports import LetterStep, OrderBooks

log = get_logger(__name__)


class Outcome(StrEnum):
    """What became of one letter."""

    REDRIVEN = "redriven"
    DROPPED = "dropped"
    FAILED = "failed"
    UNTOUCHED = "untouched"


@dataclass(frozen=True, slots=True, kw_only=True)
class Acted:
    """One letter after an action; ``detail`` is for people. ``fault`` is what kept it from being done, if
    that is no fault of this letter and would keep others too."""

    letter: Letter
    outcome: Outcome
    detail: str = ""
    fault: str | None = None

    @property
    def is_done(self) -> bool:
        """Whether the letter may be removed."""
        return self.outcome in (Outcome.REDRIVEN, Outcome.DROPPED)


class Action(Protocol):
    """Something that is done to letters, many at a time."""

    name: str

    async def carry_out(self, letters: Sequence[Letter]) -> Sequence[Acted]:
        """One result per letter, in order. Those that are done may be removed.

        Raises StoreUnavailable, and then all of it may be done again.
        """


class DryRun:
    """Nothing is done, so that an operator sees which letters it would have been, and which would fail."""

    def __init__(self, name: str, obstacle: Callable[[Letter], Awaitable[str | None]] | None = None) -> None:
        self.name = name
        self._obstacle = obstacle

    async def carry_out(self, letters: Sequence[Letter]) -> Sequence[Acted]:
        obstacles = [await self._obstacle(letter) if self._obstacle else None for letter in letters]
        return [
            Acted(letter=letter, outcome=Outcome.FAILED if fault else Outcome.UNTOUCHED, detail=fault or "")
            for letter, fault in zip(letters, obstacles, strict=True)
        ]


class Redrive:
    """Back to the consumer's queue, with a new budget of attempts and the history in its headers."""

    name = "redrive"

    def __init__(self, *, publisher: Publisher, books: OrderBooks, clock: Callable[[], float]) -> None:
        self._publisher = publisher
        self._books = books
        self._clock = clock

    async def carry_out(self, letters: Sequence[Letter]) -> Sequence[Acted]:
        """First noted, then published, and only then said to be on its way: a consumer that has
        dealt with the message by then has the last word."""
        known = [letter for letter in letters if letter.event is not None]
        noted = await self._books.note([_step(letter, "redriven") for letter in known])
        outcomes = await asyncio.gather(*(self._publish(letter) for letter in letters))
        gone = {id(acted.letter) for acted in outcomes if acted.is_done}
        on_their_way = [
            note
            for letter, note in zip(known, noted, strict=True)
            if letter.placed is not None and id(letter) in gone
        ]
        try:
            await self._books.revive(on_their_way)
        except StoreUnavailable as error:
            log.warning("redrives not noted", reason=str(error))
        return outcomes

    async def accepted(self, order_id: str) -> Event[OrderPlaced] | None:
        """What the order's record says was placed, and for how much; None where no record can be read."""
        return await self._books.accepted(order_id)

    async def _publish(self, letter: Letter) -> Acted:
        delivery = letter.delivery
        message = OutgoingMessage(
            exchange="",
            routing_key=letter.consumption.queue,
            body=delivery.body,
            correlation_id=delivery.correlation_id,
            headers=redriven_headers(delivery.headers, round(self._clock() * 1_000_000)),
        )
        return await _published(self._publisher, message, letter, Outcome.REDRIVEN)


class CorrectedRedrive:
    """Back to the consumer's queue with another body: a message that could not be read, or said it wrong.

    What was ordered stays as it was accepted: it is held against the order's record here, since not every
    consumer does so, and a letter that can be read keeps its event and its order.
    """

    def __init__(self, redrive: Redrive, body: bytes) -> None:
        self.name = redrive.name
        self._redrive = redrive
        self._body = body

    async def carry_out(self, letters: Sequence[Letter]) -> Sequence[Acted]:
        return [await self._one(letter) for letter in letters]

    async def _one(self, letter: Letter) -> Acted:
        fault = await self.obstacle(letter)
        if fault is not None:
            return Acted(letter=letter, outcome=Outcome.FAILED, detail=fault)
        (acted,) = await self._redrive.carry_out([self._corrected(letter)])
        return replace(acted, letter=letter, detail=acted.detail or "with a corrected body")

    async def obstacle(self, letter: Letter) -> str | None:
        """Why the body cannot take the place of the letter's own, if it cannot. Raises StoreUnavailable."""
        try:
            decode(self._body)
        except DecodeError as error:
            return f"the corrected body is no event: {error}"
        corrected = self._corrected(letter)
        if corrected.event is None or not letter.consumption.takes(corrected.event.type):
            return f"{letter.consumption.service} does not take {corrected.event_type}"
        if letter.order_id not in (None, corrected.order_id):
            return (
                f"the corrected body is about order {corrected.order_id}, the letter about {letter.order_id}"
            )
        if letter.event is not None and letter.event.type != corrected.event.type:
            return f"the corrected body is {corrected.event.type}, the letter {letter.event.type}"
        accepted = await self._redrive.accepted(corrected.event.subject) or letter.event
        if letter.content not in (None, corrected.content) or (
            accepted is not None and _is_changed(corrected.event.data, accepted.data)
        ):
            return "the corrected body changes what was ordered, by whom, or for how much"
        return None

    def _corrected(self, letter: Letter) -> Letter:
        return read_letter(letter.queue, replace(letter.delivery, body=self._body))


def _is_changed(said: EventData, accepted: EventData) -> bool:
    """Prices and customer need not be said: who wants them finds them in the order's record."""
    customers = [data.customer if isinstance(data, OrderPlaced) else None for data in (said, accepted)]
    return (
        content_fingerprint(said.order) != content_fingerprint(accepted.order)
        or said.prices not in (None, accepted.prices)
        or customers[0] not in (None, customers[1])
    )


class Drop:
    """Out of the way for good. An undecided order is rejected as dropped and announced like any other."""

    name = "drop"

    def __init__(self, *, publisher: Publisher, books: OrderBooks) -> None:
        self._publisher = publisher
        self._books = books

    async def carry_out(self, letters: Sequence[Letter]) -> Sequence[Acted]:
        """An order that was decided meanwhile keeps its decision, which is announced again."""
        told = [letter for letter in letters if letter.event is not None and letter.placed is None]
        await self._books.note([_step(letter, "dropped") for letter in told])
        placed = [letter.placed for letter in letters if letter.placed is not None]
        decisions = iter(await self._books.drop(placed))
        return await asyncio.gather(
            *(
                self._end(letter, next(decisions)) if letter.placed is not None else _removable(letter)
                for letter in letters
            )
        )

    async def _end(self, letter: Letter, decision: Decision) -> Acted:
        if isinstance(decision, Undecidable) and decision.reason == OTHER_CONTENT:
            detail = "another order was accepted under its id, and goes its own way"
            return Acted(letter=letter, outcome=Outcome.DROPPED, detail=detail)
        if isinstance(decision, Cancelled):
            return Acted(letter=letter, outcome=Outcome.DROPPED, detail="its order was cancelled before")
        if isinstance(decision, Undecidable) or letter.placed is None:
            detail = decision.detail if isinstance(decision, Undecidable) else ""
            return Acted(letter=letter, outcome=Outcome.FAILED, detail=detail)
        placed = letter.placed
        event = event_of(placed.data.order, decision, placed.trace, is_replay=placed.is_replay)
        return await _published(
            self._publisher, message_of(event), letter, Outcome.DROPPED, detail=f"announced {event.type}"
        )


class Erase:
    """Out of the way, since nothing hangs on it: its order is final, and its customer was erased."""

    name = "erase"

    def __init__(self, books: OrderBooks) -> None:
        self._books = books

    async def carry_out(self, letters: Sequence[Letter]) -> Sequence[Acted]:
        await self._books.note([_step(letter, "dropped") for letter in letters])
        return [Acted(letter=letter, outcome=Outcome.DROPPED) for letter in letters]


async def _removable(letter: Letter) -> Acted:
    detail = (
        "no event that can be read" if letter.event is None else f"its {letter.consumption.work} stays failed"
    )
    return Acted(letter=letter, outcome=Outcome.DROPPED, detail=detail)


async def _published(
    publisher: Publisher, message: OutgoingMessage, letter: Letter, outcome: Outcome, detail: str = ""
) -> Acted:
    try:
        await publisher.publish(message)
    except BrokerUnavailable as error:
        fault = str(error)
        return Acted(letter=letter, outcome=Outcome.FAILED, detail=fault, fault=fault)
    return Acted(letter=letter, outcome=outcome, detail=detail)


def _step(letter: Letter, what: str) -> LetterStep:
    """What the timeline says; of a letter about a decided order, whose work it was about."""
    is_placed = letter.placed is not None
    return LetterStep(
        order_id=letter.order_id or "",
        fingerprint="" if letter.event is None else content_fingerprint(letter.event.data.order),
        step=what if is_placed else f"{letter.consumption.work}_{what}",
        reason=letter.reason,
        attempts=letter.history.attempts,
        unless_decided=is_placed,
    )
