"""The suite's account of what it could not run."""

import pytest

pytest_plugins = ["pytester"]

SUITE = """
import pytest

def test_plain(): pass

@pytest.mark.broker
def test_with_broker(): pass

@pytest.mark.failover
def test_that_kills(): pass
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """Three tests, two of which need brokers, in a folder of their own."""
    pytester.makeini("[pytest]\nmarkers =\n    broker\n    failover\n")
    pytester.makepyfile(SUITE)
    return pytester


def test_missing_brokers_are_counted_with_their_reason(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no broker is installed, the last lines say how many tests did not run and why."""
    monkeypatch.setattr("orderctl.native.packages.missing", lambda: ["rabbitmq-server"])

    result = suite.runpytest_inprocess("-p", "tests.availability", "-p", "no:asyncio")

    result.assert_outcomes(passed=1, skipped=2)
    assert result.outlines[-2] == "2 tests did not run: not installed here: rabbitmq-server"


def test_present_brokers_leave_nothing_out(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where both are installed every test runs, and nothing is said."""
    monkeypatch.setattr("orderctl.native.packages.missing", list)

    result = suite.runpytest_inprocess("-p", "tests.availability", "-p", "no:asyncio")

    result.assert_outcomes(passed=3)
    result.stdout.no_fnmatch_line("*did not run*")
