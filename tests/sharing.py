"""How tests share this machine: ``make test`` runs two processes, each with a cluster of its own.

Breaking brokers is mostly waiting, computing is not, so that two take little more than half the time of one.
What a test measured is printed at the end, whichever process ran it.
"""

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what tests recorded as properties, above the totals."""
    for report in terminalreporter.getreports("passed"):
        if report.when == "call":
            for name, value in report.user_properties:
                terminalreporter.write_line(f"measured: {name} {value}  ({report.nodeid.partition('::')[2]})")
