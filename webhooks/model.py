"""Endpoints, deliveries and attempts, and what follows from how an attempt ended. Pure decisions, no I/O."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SECOND: Final = 1_000_000
"""In microseconds, in which times are kept."""
GIVE_UP_SECONDS: Final = 3 * 86_400
DISABLE_SECONDS: Final = GIVE_UP_SECONDS - 3_600
"""An endpoint that has failed for that long is disabled once a delivery is given up, whose first attempt came
a while after it was due."""
RETRY_SECONDS: Final = (5, 60, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000)
"""How long after each attempt the next one comes; the last goes for all further ones."""
LONGEST_HOLD_SECONDS: Final = 300
"""For how long an endpoint is left alone at most that has failed time and again."""
LONGEST_RETRY_AFTER_SECONDS: Final = 3_600
RECOVERED_AFTER_SECONDS: Final = 60
"""An endpoint that takes something after it has failed for that long is told at once of all that waits."""
LATEST_SHOWN: Final = 12
"""Attempts that are kept of one delivery: as many as it takes to give it up."""
GONE: Final = 410
DISABLED_GONE: Final = "the receiver answered 410 Gone"
DISABLED_FAILING: Final = "every attempt of three days has failed"
DISABLED_ASKED: Final = "disabled by its owner"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEndpoint:
    """Where an owner wants to be told of which events. Times are microseconds since the epoch."""

    id: str
    owner: str
    url: str
    description: str
    events: Sequence[str]
    created_at: int
    disabled_reason: str | None
    failing_since: int | None
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An event as receivers get it, a CloudEvents envelope in JSON.

    ``owner`` is who is told besides the operators, None where that customer declines it. It happened ``at``
    that, in microseconds since the epoch.
    """

    event_id: str
    event_type: str
    order_id: str
    owner: str | None
    at: int
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DueEndpoint:
    """An endpoint for which there is something to attempt."""

    owner: str
    is_failing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedDelivery:
    """A delivery that is this process' to attempt, and the secrets that sign it, the newest first."""

    endpoint_id: str
    sequence: int
    url: str
    body: str
    secrets: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryAttempt:
    """How an attempt ended: with an HTTP status, or an error without one.

    ``retry_after_seconds`` is what the receiver asked for, 0 where it did not.
    """

    at: int
    milliseconds: int
    status: int | None = None
    error: str | None = None
    retry_after_seconds: float = 0.0

    @property
    def is_success(self) -> bool:
        """Any 2xx is; a redirect is none."""
        return self.status is not None and 200 <= self.status < 300


def webhook_id(endpoint_id: str, sequence: int) -> str:
    """The same for every attempt at a delivery, and of no other delivery."""
    return f"{endpoint_id}_{sequence}"


def retry_seconds(tries: int, random_: random.Random) -> float:
    """How long after the attempt of this number, from 1, the next one comes."""
    return RETRY_SECONDS[min(tries, len(RETRY_SECONDS)) - 1] * random_.uniform(0.9, 1.1)


def hold_seconds(failures: int) -> int:
    """For how long an endpoint is left alone after so many failures in a row: not after a single one."""
    return 0 if failures < 2 else min(LONGEST_HOLD_SECONDS, 2 ** min(failures - 2, 16))


def owner_of(customer: str | None) -> str:
    """The owner whose endpoints are told of this customer's orders alone; None for those of no customer."""
    return UNOWNED if customer is None else f"customer:{customer}"


OPERATORS: Final = "operators"
"""The owner whose endpoints are told of all orders."""
UNOWNED: Final = "unowned"
"""The owner for operators who need not say who they are: they see orders of no customer."""
