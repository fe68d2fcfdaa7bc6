"""The breaker spares clients the wait for a broker that does not confirm."""

import pytest

from shared.breaker import Breaker


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Time that stands still."""
    return Clock()


def breaker_with(clock: Clock, *, down: bool = False) -> Breaker:
    """A breaker with a pause of half a second."""
    return Breaker(known_down=lambda: down, pause_seconds=0.5, clock=clock)


def test_it_lets_every_publish_through_while_they_succeed(clock: Clock) -> None:
    """Nothing is held back on a healthy broker."""
    breaker = breaker_with(clock)
    assert all(breaker.try_now() for _ in range(3))


def test_after_a_failure_it_lets_one_through_per_pause(clock: Clock) -> None:
    """One request finds out whether the broker is back; the others need not wait for it."""
    breaker = breaker_with(clock)
    breaker.failed("no confirm")
    assert not breaker.try_now()
    clock.now += 0.5
    assert [breaker.try_now() for _ in range(3)] == [True, False, False]
    clock.now += 0.5
    assert breaker.try_now()


def test_asking_whether_it_would_try_does_not_take_the_turn(clock: Clock) -> None:
    """The question comes before the order is durable, the turn after."""
    breaker = breaker_with(clock)
    breaker.failed("no confirm")
    clock.now += 0.5
    assert breaker.would_try()
    assert breaker.would_try()
    assert breaker.try_now()
    assert not breaker.would_try()


def test_one_success_closes_it(clock: Clock) -> None:
    """As soon as a broker confirms again, everybody publishes."""
    breaker = breaker_with(clock)
    breaker.failed("no confirm")
    clock.now += 0.5
    assert breaker.try_now()
    breaker.succeeded()
    assert all(breaker.try_now() for _ in range(3))


def test_a_failure_of_the_trial_starts_the_pause_anew(clock: Clock) -> None:
    """A publish that took its whole deadline does not invite the next one at once."""
    breaker = breaker_with(clock)
    breaker.failed("no confirm")
    clock.now += 2.0
    assert breaker.try_now()
    clock.now += 2.0
    breaker.failed("no confirm")
    assert not breaker.would_try()


def test_brokers_known_to_be_down_are_never_asked(clock: Clock) -> None:
    """Without a connection there is no wait at all."""
    breaker = breaker_with(clock, down=True)
    assert not breaker.would_try()
    assert not breaker.try_now()
