"""Which of the test processes that run side by side this one is."""

import os

WORKER_VARIABLE = "PYTEST_XDIST_WORKER"


def worker_number() -> int:
    """From 0; what needs fixed ports keeps apart by it."""
    return number_of(os.environ.get(WORKER_VARIABLE, "gw0"))


def number_of(worker: str) -> int:
    """The number of the process that is called so."""
    return int(worker.removeprefix("gw"))
