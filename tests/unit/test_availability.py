"""The suite's account of what it could not run, and its choice of a cluster."""

from collections.abc import Callable, Sequence

import pytest

Offer = Callable[..., None]

pytest_plugins = ["pytester"]

SUITE = """
import pytest

def test_plain(): pass

@pytest.mark.broker
def test_with_broker(): pass

@pytest.mark.failover
def test_that_kills(): pass

@pytest.mark.broker
@pytest.mark.native
def test_native(): pass

def test_choice(cluster_kind):
    print(f"\\ncluster: {cluster_kind}")
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """Five tests, three of which need brokers, in a folder of their own."""
    pytester.makeini("[pytest]\nmarkers =\n    broker\n    failover\n    native\n")
    pytester.makepyfile(SUITE)
    return pytester


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Offer:
    """A machine that lacks these packages, and these images unless it has no engine at all."""

    def machine(*, lacks: Sequence[str] = (), engine: str | None = None, no_image: bool = False) -> None:
        monkeypatch.delenv("TEST_CLUSTER", raising=False)
        monkeypatch.setattr("orderctl.native.packages.missing", lambda: list(lacks))
        monkeypatch.setattr("orderctl.docker.engine.engine_version", lambda: engine)
        monkeypatch.setattr(
            "orderctl.docker.engine.missing_images", lambda names: sorted(names) if no_image else []
        )

    return machine


def run(suite: pytest.Pytester, *words: str) -> pytest.RunResult:
    """The suite under our plugin alone."""
    return suite.runpytest_inprocess("-p", "tests.availability", "-p", "no:asyncio", *words)


def test_missing_brokers_are_counted_with_their_reason(suite: pytest.Pytester, offer: Offer) -> None:
    """Where there is neither broker nor engine, the last lines say how many tests did not run and why."""
    offer(lacks=["rabbitmq-server"])
    result = run(suite)
    result.assert_outcomes(passed=2, skipped=3)
    assert result.outlines[-2] == "3 tests did not run: not installed here: rabbitmq-server"


def test_present_brokers_leave_nothing_out(suite: pytest.Pytester, offer: Offer) -> None:
    """Where both are installed every test runs, natively, and nothing is said."""
    offer(engine="28.0")
    result = run(suite, "-s")
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines("cluster: native")
    result.stdout.no_fnmatch_line("*did not run*")


def test_containers_stand_in_where_no_broker_is_installed(suite: pytest.Pytester, offer: Offer) -> None:
    """Only what is about native mode itself is left out then."""
    offer(lacks=["rabbitmq-server"], engine="28.0")
    result = run(suite, "-s")
    result.assert_outcomes(passed=4, skipped=1)
    result.stdout.fnmatch_lines("cluster: containers")


def test_a_cluster_that_was_asked_for_and_cannot_be_had_is_an_error(
    suite: pytest.Pytester, offer: Offer
) -> None:
    """Nothing is skipped in silence where somebody relies on the answer."""
    offer(engine="28.0", no_image=True)
    result = run(suite, "--cluster", "containers")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines("ERROR: --cluster containers: images are missing*rabbitmq*")
