"""How tests share this machine: ``make test`` runs three processes, of which two have a cluster of their own.

Breaking brokers is mostly waiting, computing is not: while the first two wait, the third computes, and gives
way where they do not. Tests go to whichever process is free; those of a file that starts a system for itself
stay together, since two halves of it would start two. What a test measured is printed at the end, whichever
process ran it.
"""

import os
from typing import Any, Final

import pytest

from tests.harness.workers import number_of, worker_number

WITH_A_CLUSTER: Final = 2
"""So many processes run what needs brokers, and what computes once there is none of that left."""
COMPUTING: Final = ("tests/property/", "tests/simulator/", "tests/unit/")
POLITENESS: Final = 3
HAVE_A_SYSTEM_OF_THEIR_OWN: Final = (
    "tests/integration/test_docker_system.py",
    "tests/integration/test_embedded.py",
    "tests/integration/test_native_cluster.py",
    "tests/integration/test_native_system.py",
    "tests/integration/test_one_more_consumer.py",
    "tests/integration/test_quorum_members.py",
)


def pytest_configure() -> None:
    """Has the process that computes give way."""
    if worker_number() >= WITH_A_CLUSTER:
        os.nice(POLITENESS)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Marks for groups would stand beside the tests, but have no effect (pytest 9.2, xdist 3.8)."""
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # xdist has no types

    class KeepSystemsTogether(LoadScopeScheduling):  # type: ignore[misc]  # for the same reason
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            return path if path in HAVE_A_SYSTEM_OF_THEIR_OWN else nodeid

        def _assign_work_unit(self, node: Any) -> None:
            computes = number_of(node.gateway.id) >= WITH_A_CLUSTER
            wanted = next((each for each in self.workqueue if each.startswith(COMPUTING) is computes), None)
            if wanted is not None:
                self.workqueue.move_to_end(wanted, last=False)
            if wanted is not None or not computes:
                super()._assign_work_unit(node)

    return KeepSystemsTogether(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what tests recorded as properties, above the totals."""
    for report in terminalreporter.getreports("passed"):
        if report.when == "call":
            for name, value in report.user_properties:
                terminalreporter.write_line(f"measured: {name} {value}  ({report.nodeid.partition('::')[2]})")
