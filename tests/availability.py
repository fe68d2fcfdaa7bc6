"""A test that this machine cannot run is skipped, and pytest's last lines say how many, and why."""

from collections import Counter

import pytest

from orderctl.native import packages

_NEEDS_BROKERS = ("broker", "failover")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs RabbitMQ and Redis where one of them is not installed."""
    absent = packages.missing()
    if not absent:
        return
    skip = pytest.mark.skip(reason=f"not installed here: {', '.join(absent)}")
    for item in items:
        if any(item.get_closest_marker(name) for name in _NEEDS_BROKERS):
            item.add_marker(skip)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line per reason, right above the totals."""
    reports = terminalreporter.getreports("skipped")
    for reason, count in Counter(_reason(report) for report in reports).most_common():
        tests = "test" if count == 1 else "tests"
        terminalreporter.write_line(f"{count} {tests} did not run: {reason}", yellow=True)


def _reason(report: pytest.TestReport) -> str:
    """What the skip said; the detail is (file, line, text) for every skip of pytest's own."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    return text.removeprefix("Skipped: ")
