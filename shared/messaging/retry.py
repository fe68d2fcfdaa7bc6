"""What becomes of a message whose handler did not finish it. Pure decisions, no I/O."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shared.errors import DecodeError, PermanentError
from shared.messages import Event, EventData
from shared.messaging.ports import Headers
from shared.pipeline import RETRY_TIERS_SECONDS

DELIVERY_LIMIT: Final = 10
"""A message that the broker has delivered this often without an ack is dead-lettered unhandled."""
SUSPECT_DELIVERIES: Final = 2
"""A message that was delivered in vain this often may be what ends its consumers: it goes its way alone, and
the events of a batch go on as messages of their own."""
MAX_ERROR_CHARACTERS: Final = 500
LARGEST_INTEGER: Final = 2**53
"""Of the integers in our headers; a larger one was written by somebody else."""

ATTEMPTS: Final = "op-attempts"
REASON: Final = "op-reason"
FIRST_FAILED_AT: Final = "op-first-failed-at"
LAST_FAILED_AT: Final = "op-last-failed-at"
LAST_ERROR: Final = "op-last-error"


@dataclass(frozen=True, slots=True)
class Done:
    """The message is dealt with; these events say what happened and are published before the ack."""

    events: Sequence[Event[EventData]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """The message may succeed later.

    With ``delay_seconds`` the delay is known (a lease to wait for) and the attempt costs no budget;
    without, the next tier of the ladder applies.
    """

    reason: str
    error: str = ""
    delay_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dead:
    """The message cannot succeed and goes to the dead-letter queue."""

    reason: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Split:
    """The message is a batch that goes back to its queue as messages of one event."""


Outcome = Done | Retry | Dead


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """How a message failed so far; times in microseconds since the epoch."""

    attempts: int = 0
    reason: str = ""
    first_failed_at: int = 0
    last_failed_at: int = 0
    last_error: str = ""

    @classmethod
    def read(cls, headers: Headers) -> "History":
        """What the headers of ours say; anything else in them is somebody else's."""
        return cls(
            attempts=_integer(headers.get(ATTEMPTS)),
            reason=str(headers.get(REASON, "")),
            first_failed_at=_integer(headers.get(FIRST_FAILED_AT)),
            last_failed_at=_integer(headers.get(LAST_FAILED_AT)),
            last_error=str(headers.get(LAST_ERROR, "")),
        )

    def headers(self) -> Headers:
        """The inverse of :meth:`read`."""
        return {
            ATTEMPTS: self.attempts,
            REASON: self.reason,
            FIRST_FAILED_AT: self.first_failed_at,
            LAST_FAILED_AT: self.last_failed_at,
            LAST_ERROR: self.last_error,
        }

    def failed(self, outcome: Retry | Dead, now: int) -> "History":
        """The history with one more failure, which costs an attempt unless its delay was asked for."""
        free = isinstance(outcome, Retry) and outcome.delay_seconds is not None
        return History(
            attempts=self.attempts + (0 if free else 1),
            reason=outcome.reason,
            first_failed_at=self.first_failed_at or now,
            last_failed_at=now,
            last_error=_writable(outcome.error[:MAX_ERROR_CHARACTERS]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Put the message into the tier's queue, to come back after ``expiration_seconds``."""

    tier_seconds: int
    expiration_seconds: float
    history: History


@dataclass(frozen=True, slots=True, kw_only=True)
class Bury:
    """Put the message into the dead-letter queue."""

    history: History


def decide(outcome: Retry | Dead, history: History, now: int, random_: random.Random) -> Wait | Bury:
    """The fate of a message that failed now (microseconds since the epoch), given its history."""
    after = history.failed(outcome, now)
    if isinstance(outcome, Dead):
        return Bury(history=after)
    if outcome.delay_seconds is not None:
        return _wait_exactly(outcome.delay_seconds, after)
    if after.attempts > len(RETRY_TIERS_SECONDS):
        return Bury(history=after)
    tier = RETRY_TIERS_SECONDS[after.attempts - 1]
    return Wait(tier_seconds=tier, expiration_seconds=tier * random_.uniform(0.5, 1.0), history=after)


def _wait_exactly(delay_seconds: float, history: History) -> Wait:
    tier = next((tier for tier in RETRY_TIERS_SECONDS if tier >= delay_seconds), RETRY_TIERS_SECONDS[-1])
    return Wait(tier_seconds=tier, expiration_seconds=min(delay_seconds, tier), history=history)


def outcome_of_error(error: Exception) -> Retry | Dead:
    """What an exception from a handler means for the one message it was about."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, DecodeError):
        return Dead(reason="undecodable", error=text)
    if isinstance(error, PermanentError):
        return Dead(reason="permanent_error", error=text)
    return Retry(reason="handler_error", error=text)


def _integer(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value <= LARGEST_INTEGER else 0


def _writable(text: str) -> str:
    """An error may quote what no header can carry, such as a lone surrogate."""
    return text.encode("utf-8", "replace").decode()
