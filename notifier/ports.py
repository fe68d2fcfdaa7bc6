"""What the notifier's handlers need of the store and of the way to the customer."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from notifier.domain import Notification
from shared.errors import PipelineError
from shared.messages import Event, EventData


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """The notification may be sent under this claim until the lease ends.

    ``until`` is on the monotonic clock, in seconds, never later than the store thinks. ``unconfirmed`` counts
    the letters sent before whose answer is unknown: after one of them, this is the last.
    """

    attempts: int
    until: float
    unconfirmed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadySent:
    """It went out before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedLate:
    """The letter was refused after its event had been parked. This is said once, then it can be claimed."""

    error: str
    is_final: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhausted:
    """Two letters went out and neither was confirmed in time; a third must not go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldByAnother:
    """Another claim is in force for ``seconds``: its sender works or has died, or an answer is awaited."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableClaim:
    """Its record is not what a notifier writes, as after a change by hand; claiming again cannot help."""

    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclinedByCustomer:
    """It is claimed, for a customer who wants to be told nothing this way."""


NoClaim = AlreadySent | DeclinedByCustomer | RefusedLate | Exhausted | HeldByAnother | UnreadableClaim
Claim = Claimed | NoClaim


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try at sending one notification over ``channel``; ``owner`` is unique to it.

    Of a replay goes only what is known to be untold, or told in vain.
    """

    notification: Notification
    owner: str
    channel: str
    is_replay: bool = False


class NotificationStore(Protocol):
    """Remembers what was sent. Every method raises StoreUnavailable and may be repeated."""

    async def claim(self, attempts: Sequence[Attempt]) -> Sequence[Claim]:
        """Claims each notification under a lease, in one round trip.

        The same owner may claim again, which renews the lease and counts as the same attempt.
        """

    async def begin_last(self, attempts: Sequence[Attempt]) -> bool:
        """Notes that the second and last letter goes now; False if a claim is another's by then."""

    async def mark_unconfirmed(self, attempts: Sequence[Attempt], letters: int, message_id: str) -> None:
        """The receiving side has a letter and has not answered; ``letters`` such have gone by now.

        Others wait for the answer until it cannot come any more.
        """

    async def mark_sent(self, attempts: Sequence[Attempt]) -> None:
        """These went out."""

    async def settle(self, attempt: Attempt, claim: Exhausted | DeclinedByCustomer) -> None:
        """It is over: it counts as sent, unconfirmed, or as declined."""

    async def release(self, attempts: Sequence[Attempt], error: str) -> None:
        """The letter was refused and may be tried again at once."""

    async def refuse_late(self, attempts: Sequence[Attempt], error: str, *, is_final: bool) -> None:
        """As ``release``, after the event was parked: the next one who claims it is told."""

    async def give_back(self, attempts: Sequence[Attempt], error: str) -> None:
        """No letter went, as the way to the customer was shut: this does not count as a try."""

    async def hold_back(self, attempts: Sequence[Attempt]) -> None:
        """As ``give_back``: they are collected until their address may have another letter."""


class LetterQuota(Protocol):
    """Bounds the letters to one address, and lists the events that wait for one. Raises StoreUnavailable."""

    async def take(self, address: str, letter_id: str, *, is_collected: bool) -> float:
        """0 if the letter may go, also if it may go again; else in how many seconds a collected one may.

        ``is_collected`` says that it is for all events that wait.
        """

    async def collect(self, address: str, events: Mapping[str, Event[EventData]]) -> None:
        """These wait for the next collected letter. It is a help: their messages come back by themselves."""

    async def collected(self, address: str) -> Sequence[Event[EventData]]:
        """Those that wait, as many as fit into one letter."""

    async def forget(self, address: str, event_ids: Sequence[str]) -> None:
        """These wait no longer."""


class OutcomeUnknown(PipelineError):
    """Raised where the receiving side had the whole letter and will not say any more what became of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """A whole letter is with the receiving side.

    ``answer`` ends as ``send`` would have, or raises OutcomeUnknown.
    """

    message_id: str
    answer: asyncio.Future[None]


class Sender(Protocol):
    """A way to the customer."""

    def channel_for(self, notification: Notification) -> str:
        """The name of the way that the notification will take, as it is recorded: ``log``, ``smtp``."""

    async def send(self, notification: Notification) -> HandedOver | None:
        """Returns None once the next hop has taken responsibility, or HandedOver if it has yet to say so.

        Raises RetryableError when trying later may help, PermanentError when it cannot, and
        SenderUnavailable when no notification could go this way now. Each of its steps has a deadline.
        """

    async def flush(self) -> None:
        """Returns once all that ``send`` took has left this process. Raises SenderUnavailable."""
