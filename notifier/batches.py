"""What the messages of one batch share while their notifications are sent."""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from notifier.domain import MOST_UNMARKED, notification_of
from notifier.ports import Attempt, Claim, Claimed, Sender
from shared.messages import Event, EventData
from shared.messaging.handlers import Incoming
from shared.messaging.retry import Outcome

COLLECTED: Final = "letters_per_hour"
"""Why an event waits whose address gets too many letters; those that come back together share one."""


def attempts_at(events: Sequence[Event[EventData]], sender: Sender) -> list[Attempt]:
    """An attempt at the notification of each event, with an owner of its own for every copy of one."""
    token = secrets.token_hex(8)
    return [
        Attempt(
            notification=(notification := notification_of(event)),
            owner=f"{token}.{place}",
            channel=sender.channel_for(notification),
            is_replay=event.is_replay,
        )
        for place, event in enumerate(events)
    ]


@dataclass(frozen=True, slots=True)
class ClaimedEvent:
    """One message of a batch, with the answer to its claim."""

    attempt: Attempt
    claim: Claim
    incoming: Incoming

    @property
    def was_collected(self) -> bool:
        """Whether it has waited because its address gets too many letters."""
        return self.incoming.history.reason == COLLECTED

    @property
    def most_unmarked(self) -> int:
        """How many like it may be sent before they are marked; a last letter goes alone."""
        if isinstance(self.claim, Claimed) and not self.claim.unconfirmed:
            return MOST_UNMARKED.get(self.attempt.channel, 1)
        return 1


@dataclass(slots=True)
class NotificationBatch:
    """The messages of a batch, and what is known of them by the owner of their attempt.

    ``waiting`` are those that go one at a time and have not had their turn, ``groups`` those that are marked
    together. ``trouble`` is why nothing more is begun: the way is shut, or the store could not say how a
    sending ended. ``unsent`` are claimed, and were not begun or met the shut way.
    """

    given_up: "asyncio.Future[None]"
    waiting: dict[str, ClaimedEvent] = field(default_factory=dict)
    groups: list[list[ClaimedEvent]] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    trouble: Exception | None = None
    unsent: list[Attempt] = field(default_factory=list)

    def add(self, claimed: ClaimedEvent) -> None:
        """Takes in one message of the batch."""
        most = claimed.most_unmarked
        if most == 1:
            self.waiting[claimed.attempt.owner] = claimed
        elif self.groups and len(self.groups[-1]) < most:
            self.groups[-1].append(claimed)
        else:
            self.groups.append([claimed])

    def has_ended(self) -> bool:
        """Whether nothing more is to be begun."""
        return self.trouble is not None or self.given_up.done()

    def give_up(self) -> None:
        """The drain is out of time."""
        if not self.given_up.done():
            self.given_up.set_result(None)
