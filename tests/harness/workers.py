"""Which of the test processes that run side by side this one is."""

import os

WORKER_VARIABLE = "PYTEST_XDIST_WORKER"


def worker_number() -> int:
    """From 0; what needs fixed ports keeps apart by it."""
    return int(os.environ.get(WORKER_VARIABLE, "gw0").removeprefix("gw"))
