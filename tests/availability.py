"""Which cluster tests run on, and which tests this machine cannot run at all.

``--cluster`` (or ``TEST_CLUSTER``) chooses; left alone, tests run natively where RabbitMQ, Redis and
PostgreSQL are installed, else in containers where an engine and the images are there. A test that cannot run
is skipped, and pytest's last lines say how many, and why. A cluster that was asked for by name and cannot be
had is an error.
"""

import os
from collections import Counter

import pytest

from orderctl.docker import engine
from orderctl.docker.images import image
from orderctl.native import packages
from tests.harness.clusters import ClusterKind

AUTO = "auto"
CHOICE_VARIABLE = "TEST_CLUSTER"
_NEEDS_BROKERS = ("broker", "failover")
_ENGINE_IMAGES = ("RABBITMQ_IMAGE", "REDIS_IMAGE", "POSTGRES_IMAGE")
_CHOSEN = pytest.StashKey[ClusterKind]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Lets the operator of the tests choose."""
    parser.addoption(
        "--cluster",
        choices=[AUTO, *ClusterKind],
        default=os.environ.get(CHOICE_VARIABLE, AUTO),
        help="brokers and Redis as processes, or in containers (default: what this machine offers)",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what needs brokers where there are none, and what is about one kind of cluster where it is not."""
    in_docker = [item for item in items if item.get_closest_marker("docker")]
    if in_docker and (reason := _no_docker()):
        for item in in_docker:
            item.add_marker(pytest.mark.skip(reason=reason))
    needing = [item for item in items if any(map(item.get_closest_marker, _NEEDS_BROKERS))]
    if not needing:
        return
    reason = _no_cluster(config)
    for item in needing:
        if reason or item.get_closest_marker("native"):
            reason_here = reason or _no_native()
            if reason_here:
                item.add_marker(pytest.mark.skip(reason=reason_here))


@pytest.fixture(scope="session")
def cluster_kind(pytestconfig: pytest.Config) -> ClusterKind:
    """The kind of cluster that this run's tests are on."""
    return chosen_cluster(pytestconfig)


def chosen_cluster(config: pytest.Config) -> ClusterKind:
    """What was asked for, or what this machine offers."""
    if _CHOSEN not in config.stash:
        asked = config.getoption("--cluster")
        native = asked == AUTO and (not _no_native() or _no_containers())
        config.stash[_CHOSEN] = (
            ClusterKind.NATIVE if native else ClusterKind.CONTAINERS if asked == AUTO else ClusterKind(asked)
        )
    return config.stash[_CHOSEN]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line per reason, right above the totals."""
    reports = terminalreporter.getreports("skipped")
    for reason, count in Counter(_reason(report) for report in reports).most_common():
        tests = "test" if count == 1 else "tests"
        terminalreporter.write_line(f"{count} {tests} did not run: {reason}", yellow=True)


def _no_cluster(config: pytest.Config) -> str:
    """Why no test that needs brokers can run, or nothing; an error if exactly this cluster was asked for."""
    wanted = chosen_cluster(config)
    reason = _no_containers() if wanted is ClusterKind.CONTAINERS else _no_native()
    if reason and config.getoption("--cluster") != AUTO:
        raise pytest.UsageError(f"--cluster {wanted}: {reason}")
    return reason


def _no_native() -> str:
    absent = packages.missing()
    return f"not installed here: {', '.join(absent)}" if absent else ""


def _no_containers() -> str:
    if engine.engine_version() is None:
        return "no Docker engine answers"
    absent = engine.missing_images(map(image, _ENGINE_IMAGES))
    return f"images are missing (deploy/offline/build makes them): {', '.join(absent)}" if absent else ""


def _no_docker() -> str:
    if reason := _no_containers():
        return reason
    return "" if engine.compose_version() else "`docker compose` is not there"


def _reason(report: pytest.TestReport) -> str:
    """What the skip said; the detail is (file, line, text) for every skip of pytest's own."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    return text.removeprefix("Skipped: ")
