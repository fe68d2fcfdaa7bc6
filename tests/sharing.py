"""How tests share this machine: what needs the one cluster runs in one process, all else beside it.

``make test`` runs two processes. Breaking brokers is mostly waiting, computing is not, so that together they
take little longer than the first alone. What a test measured is printed at the end, whichever ran it.
"""

import pytest

CLUSTER = "cluster"
ON_THE_CLUSTER = ("broker", "failover")
ONE_AT_A_TIME = ("test_native_", "test_orderctl_ports")
"""Files whose tests use a cluster, or ports, that the tests beside them in the file use too."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Names the group of each test that may not run beside another of its group."""
    for item in items:
        if item.path.name.startswith(ONE_AT_A_TIME):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
        elif any(item.get_closest_marker(name) for name in ON_THE_CLUSTER):
            item.add_marker(pytest.mark.xdist_group(CLUSTER))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what tests recorded as properties, above the totals."""
    for report in terminalreporter.getreports("passed"):
        if report.when == "call":
            for name, value in report.user_properties:
                terminalreporter.write_line(f"measured: {name} {value}  ({report.nodeid.partition('::')[2]})")
