"""What becomes of a message that failed: the ladder, free delays, and the history that goes along."""

import random

import pytest

from shared.errors import DecodeError, PermanentError, RetryableError
from shared.messaging.retry import (
    ATTEMPTS,
    FIRST_FAILED_AT,
    LAST_FAILED_AT,
    MAX_ERROR_CHARACTERS,
    Bury,
    Dead,
    History,
    Retry,
    Wait,
    decide,
    outcome_of_error,
)

NOW = 1_750_000_000_000_000
SECOND = 1_000_000
LADDER = (1, 5, 30, 120, 600)


class Latest(random.Random):
    """Random numbers without the chance: always the upper end."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Earliest(random.Random):
    """Random numbers without the chance: always the lower end."""

    def uniform(self, a: float, b: float) -> float:
        return a


def test_a_failing_message_climbs_the_ladder_and_is_then_dead() -> None:
    """Five waits of growing length, and no sixth."""
    history, waits = History(), []
    for attempt in range(1, 6):
        fate = decide(Retry(reason="send_failed"), history, NOW + attempt, Latest())
        assert isinstance(fate, Wait)
        history = fate.history
        waits.append((fate.tier_seconds, fate.expiration_seconds))
    assert waits == [(tier, float(tier)) for tier in LADDER]
    last = decide(Retry(reason="send_failed", error="still"), history, NOW + 6, Latest())
    assert last == Bury(
        history=History(
            attempts=6,
            reason="send_failed",
            first_failed_at=NOW + 1,
            last_failed_at=NOW + 6,
            last_error="still",
        )
    )


def test_jitter_takes_at_most_half_of_the_wait() -> None:
    """Messages that failed together do not come back together, nor much too early."""
    for attempts, tier in enumerate(LADDER):
        fate = decide(Retry(reason="x"), History(attempts=attempts), NOW, Earliest())
        assert isinstance(fate, Wait)
        assert fate.expiration_seconds == tier / 2


@pytest.mark.parametrize(
    ("delay", "tier", "expiration"),
    [
        (0.0, 1, 0.0),
        (0.2, 1, 0.2),
        (1.0, 1, 1.0),
        (1.1, 5, 1.1),
        (14.0, 30, 14.0),
        (600.0, 600, 600.0),
        (3600.0, 600, 600.0),
    ],
)
def test_a_delay_that_was_asked_for_waits_in_the_smallest_tier_that_fits(
    delay: float, tier: int, expiration: float
) -> None:
    """The wait is exact, without jitter; past the longest tier it is that tier's."""
    fate = decide(Retry(reason="claimed_elsewhere", delay_seconds=delay), History(), NOW, Earliest())
    assert isinstance(fate, Wait)
    assert (fate.tier_seconds, fate.expiration_seconds) == (tier, expiration)


def test_a_delay_that_was_asked_for_is_free() -> None:
    """Waiting for somebody else's lease is no failure, however often it happens."""
    history = History(attempts=5)
    for _ in range(100):
        fate = decide(Retry(reason="claimed_elsewhere", delay_seconds=3.0), history, NOW, Latest())
        assert isinstance(fate, Wait)
        history = fate.history
    assert history.attempts == 5


def test_a_dead_outcome_is_buried_at_once_with_its_reason() -> None:
    """What can never succeed does not wait."""
    fate = decide(Dead(reason="undecodable", error="not JSON"), History(attempts=2), NOW, Latest())
    assert isinstance(fate, Bury)
    assert (fate.history.attempts, fate.history.reason, fate.history.last_error) == (
        3,
        "undecodable",
        "not JSON",
    )


def test_the_history_keeps_the_first_time_and_the_last_error() -> None:
    """An operator sees since when a message has been failing, and why it did so last."""
    first = History().failed(Retry(reason="a", error="one"), NOW)
    second = first.failed(Retry(reason="b", error="two"), NOW + SECOND)
    assert (second.first_failed_at, second.last_failed_at) == (NOW, NOW + SECOND)
    assert (second.attempts, second.reason, second.last_error) == (2, "b", "two")


def test_the_history_travels_in_headers() -> None:
    """Written into headers and read back it is the same."""
    history = History(attempts=3, reason="x", first_failed_at=NOW, last_failed_at=NOW + 1, last_error="e")
    assert History.read(history.headers()) == history


@pytest.mark.parametrize("attempts", [-1, -10, "3", "many"])
def test_headers_that_are_not_ours_count_as_no_history(attempts: str | int) -> None:
    """Another producer's headers cannot take the ladder out of its bounds."""
    history = History.read({ATTEMPTS: attempts, FIRST_FAILED_AT: "yesterday", LAST_FAILED_AT: 2**60})
    assert history == History()


def test_a_long_error_is_cut() -> None:
    """Headers stay small whatever a handler says."""
    history = History().failed(Retry(reason="x", error="e" * 10_000), NOW)
    assert len(history.last_error) == MAX_ERROR_CHARACTERS


def test_an_error_text_can_always_be_written_into_a_header() -> None:
    """A lone surrogate in an error's text must not keep the message from being moved."""
    history = History().failed(Dead(reason="x", error="bad \ud800 text"), NOW)
    assert history.last_error.encode("utf-8") == b"bad ? text"


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (DecodeError("no type"), Dead(reason="undecodable", error="DecodeError: no type")),
        (PermanentError("gone"), Dead(reason="permanent_error", error="PermanentError: gone")),
        (RetryableError("busy"), Retry(reason="handler_error", error="RetryableError: busy")),
        (KeyError("sku"), Retry(reason="handler_error", error="KeyError: 'sku'")),
    ],
    ids=["undecodable", "permanent", "retryable", "unforeseen"],
)
def test_an_exception_means_an_outcome_for_its_message(error: Exception, outcome: Retry | Dead) -> None:
    """What nobody foresaw is retried until the budget is spent; what cannot help is not."""
    assert outcome_of_error(error) == outcome
