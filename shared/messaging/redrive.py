"""What a dead letter takes along when it is sent back to its consumer. Pure, no I/O.

The budget of attempts starts anew; what happened before stays in headers of its own, so that a message which
fails again comes back with its whole history.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shared.messaging.ports import Headers, HeaderValue
from shared.messaging.retry import ATTEMPTS, LARGEST_INTEGER, LAST_ERROR, LAST_FAILED_AT, REASON, History

REDRIVEN: Final = "op-redriven"
REDRIVEN_AT: Final = "op-redriven-at"
PREVIOUS_REASON: Final = "op-previous-reason"
PREVIOUS_ERROR: Final = "op-previous-error"
PREVIOUS_ATTEMPTS: Final = "op-previous-attempts"

_OF_THIS_LIFE: Final = (ATTEMPTS, REASON, LAST_FAILED_AT, LAST_ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """How often a message was redriven, last when (microseconds since the epoch), and why it had died then.

    ``previous_attempts`` are those of all its lives before.
    """

    redriven: int = 0
    redriven_at: int = 0
    previous_reason: str = ""
    previous_error: str = ""
    previous_attempts: int = 0

    @classmethod
    def read(cls, headers: Headers) -> "Past":
        """What the headers of ours say; anything else in them is somebody else's."""
        return cls(
            redriven=_integer(headers, REDRIVEN),
            redriven_at=_integer(headers, REDRIVEN_AT),
            previous_reason=str(headers.get(PREVIOUS_REASON, "")),
            previous_error=str(headers.get(PREVIOUS_ERROR, "")),
            previous_attempts=_integer(headers, PREVIOUS_ATTEMPTS),
        )

    def headers(self) -> Headers:
        """The inverse of :meth:`read`."""
        return {
            REDRIVEN: self.redriven,
            REDRIVEN_AT: self.redriven_at,
            PREVIOUS_REASON: self.previous_reason,
            PREVIOUS_ERROR: self.previous_error,
            PREVIOUS_ATTEMPTS: self.previous_attempts,
        }

    def after(self, life: History, now: int) -> "Past":
        """The past of a message that is redriven now, after ``life``."""
        return Past(
            redriven=self.redriven + 1,
            redriven_at=now,
            previous_reason=life.reason,
            previous_error=life.last_error,
            previous_attempts=self.previous_attempts + life.attempts,
        )


def redriven_headers(headers: Headers, now: int) -> Mapping[str, HeaderValue]:
    """The headers of a dead letter that goes back to its consumer now (microseconds since the epoch).

    The time of its first failure stays; brokers' own headers do not.
    """
    kept = {
        name: value
        for name, value in headers.items()
        if name not in _OF_THIS_LIFE and not name.startswith("x-")
    }
    return kept | dict(Past.read(headers).after(History.read(headers), now).headers())


def _integer(headers: Headers, name: str) -> int:
    value = headers.get(name)
    return value if isinstance(value, int) and 0 <= value <= LARGEST_INTEGER else 0
