"""Whatever a message went through, its fate stays within the ladder."""

import random

from hypothesis import given, strategies as st

from shared.messaging.retry import Bury, Dead, History, Retry, Wait, decide
from shared.pipeline import RETRY_TIERS_SECONDS

headers = st.dictionaries(
    st.sampled_from(["op-attempts", "op-reason", "op-first-failed-at", "op-last-failed-at", "op-last-error"]),
    st.integers() | st.text(),
)
times = st.integers(min_value=1, max_value=2**53)
laddered = st.builds(Retry, reason=st.text(min_size=1), error=st.text())
asked_for = st.builds(
    Retry, reason=st.text(min_size=1), delay_seconds=st.floats(min_value=0, max_value=1e6, allow_nan=False)
)
dead = st.builds(Dead, reason=st.text(min_size=1), error=st.text())


@given(laddered | asked_for, headers, times, st.randoms(use_true_random=False))
def test_a_wait_is_never_longer_than_its_tier(
    outcome: Retry, found: dict[str, int | str], now: int, random_: random.Random
) -> None:
    """The queue's own limit never cuts a wait short, and every tier has a queue."""
    fate = decide(outcome, History.read(found), now, random_)
    if isinstance(fate, Wait):
        assert fate.tier_seconds in RETRY_TIERS_SECONDS
        assert 0 <= fate.expiration_seconds <= fate.tier_seconds
    else:
        assert fate.history.attempts > len(RETRY_TIERS_SECONDS)


@given(st.lists(laddered | asked_for | dead, max_size=40), times, st.randoms(use_true_random=False))
def test_the_budget_is_spent_by_failures_alone_and_never_exceeded(
    outcomes: list[Retry | Dead], now: int, random_: random.Random
) -> None:
    """However failures and free delays mix, a message waits on the ladder five times at most."""
    history, costly = History(), 0
    for outcome in outcomes:
        fate = decide(outcome, history, now, random_)
        history = fate.history
        if isinstance(outcome, Retry) and outcome.delay_seconds is not None:
            assert isinstance(fate, Wait)
            continue
        costly += 1
        assert history.attempts == costly
        if isinstance(outcome, Dead) or costly > len(RETRY_TIERS_SECONDS):
            assert isinstance(fate, Bury)
            return
        assert isinstance(fate, Wait)


@given(laddered | asked_for | dead, times, times)
def test_the_history_survives_its_headers(outcome: Retry | Dead, first: int, last: int) -> None:
    """What one consumer writes, the next one reads."""
    history = History().failed(outcome, first).failed(outcome, last)
    assert History.read(history.headers()) == history
    assert (history.first_failed_at, history.last_failed_at) == (first, last)
