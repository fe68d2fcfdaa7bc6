"""How tests share this machine: ``make test`` runs two processes, each with a cluster of its own.

Breaking brokers is mostly waiting, computing is not, so that two take little more than half the time of one.
Tests go to whichever process is free; those of a file that starts a system for itself stay together, since
two halves of it would start two. What a test measured is printed at the end, whichever process ran it.
"""

from typing import Any, Final

import pytest

HAVE_A_SYSTEM_OF_THEIR_OWN: Final = (
    "tests/integration/test_docker_system.py",
    "tests/integration/test_embedded.py",
    "tests/integration/test_native_cluster.py",
    "tests/integration/test_native_system.py",
    "tests/integration/test_one_more_consumer.py",
    "tests/integration/test_quorum_members.py",
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Marks for groups would stand beside the tests, but have no effect (pytest 9.2, xdist 3.8)."""
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # xdist has no types

    class KeepSystemsTogether(LoadScopeScheduling):  # type: ignore[misc]  # for the same reason
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            return path if path in HAVE_A_SYSTEM_OF_THEIR_OWN else nodeid

    return KeepSystemsTogether(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what tests recorded as properties, above the totals."""
    for report in terminalreporter.getreports("passed"):
        if report.when == "call":
            for name, value in report.user_properties:
                terminalreporter.write_line(f"measured: {name} {value}  ({report.nodeid.partition('::')[2]})")
