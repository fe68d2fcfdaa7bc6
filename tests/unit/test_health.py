"""Readiness is the sum of what a service needs, and says what is missing."""

import asyncio

from shared.health import DRAINING, Health


def test_a_service_without_needs_is_ready() -> None:
    """Nothing asked for is nothing missing."""
    assert Health().failures() == {}


def test_one_missing_dependency_makes_it_unready_and_is_named() -> None:
    """The others are reported as usable, so that nobody looks there."""
    health = Health()
    health.add("redis", lambda: None)
    health.add("rabbitmq", lambda: "no broker answers")
    assert health.failures() == {"rabbitmq": "no broker answers"}
    assert health.report() == {"redis": None, "rabbitmq": "no broker answers"}


def test_readiness_follows_the_dependency() -> None:
    """Each probe asks anew: what went away and came back is seen."""
    reasons: list[str | None] = ["away", None]
    health = Health()
    health.add("redis", lambda: reasons.pop(0))
    assert health.failures() == {"redis": "away"}
    assert health.failures() == {}


def test_a_draining_service_is_unready_whatever_it_has() -> None:
    """A platform stops sending work as soon as the drain begins."""
    stop, health = asyncio.Event(), Health()
    health.add("redis", lambda: None)
    health.drain_on(stop)
    assert health.failures() == {}
    stop.set()
    assert health.failures() == {"service": DRAINING}


def test_a_note_is_shown_and_does_not_count() -> None:
    """An operator is told of weak durability; the service works all the same."""
    health = Health()
    health.add_note("store durability", lambda: "weak")
    assert health.notes() == {"store durability": "weak"}
    assert health.failures() == {}
