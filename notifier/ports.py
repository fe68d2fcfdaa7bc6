"""What the notifier's handlers need of the store and of the way to the customer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from notifier.domain import Notification


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """The notification is ours to send until the lease ends."""

    attempts: int
    until: float
    """When the lease ends, on the monotonic clock, in seconds; never later than the store thinks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadySent:
    """It went out before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldByAnother:
    """Somebody else is sending it, or died while sending; their lease ends after ``seconds``."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """Its record is not what a notifier writes, as after a change by hand; claiming again cannot help."""

    error: str


Claim = Claimed | AlreadySent | HeldByAnother | Unreadable


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try at sending one notification over ``channel``; ``owner`` is unique to it."""

    notification: Notification
    owner: str
    channel: str


class NotificationStore(Protocol):
    """Remembers what was sent. Every method raises StoreUnavailable and may be repeated."""

    async def claim(self, attempts: Sequence[Attempt]) -> Sequence[Claim]:
        """Claims each notification under a lease, in one round trip.

        The same owner may claim again, which renews the lease and counts as the same attempt.
        """

    async def mark_sent(self, attempts: Sequence[Attempt]) -> None:
        """These went out."""

    async def release(self, attempt: Attempt, error: str) -> None:
        """This one did not go out and may be tried again at once."""

    async def give_back(self, attempts: Sequence[Attempt], error: str) -> None:
        """The way to the customer was shut: these may be tried again, and this does not count as a try."""


class Sender(Protocol):
    """A way to the customer."""

    def channel_for(self, notification: Notification) -> str:
        """The name of the way that the notification will take, as it is recorded: ``log``, ``smtp``."""

    async def send(self, notification: Notification) -> None:
        """Returns once the next hop has taken responsibility for the notification.

        Raises RetryableError when trying later may help, PermanentError when it cannot, and
        SenderUnavailable when no notification could go this way now.
        """
