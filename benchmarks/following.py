"""What the ledger costs the pipeline, and how fast it catches up after it has stood still."""

import os
import signal
import time
from collections.abc import Iterator
from typing import Any, Final

from benchmarks.contestants import Rows, placed, warm_up
from benchmarks.stage import SERVICES, Stage
from orderctl.native import processes
from shared import keyspace

FOLLOWED: Final = "orders while the ledger follows"
UNFOLLOWED: Final = "orders while it stands still"
CAUGHT_UP: Final = "steps that it catches up with"
STEPS_PER_ORDER: Final = 3
"""Accepted, decided, and its customer told."""
LAG: Final = "lag_seconds"
LONGEST_SECONDS: Final = 120.0


def rounds(stage: Stage, orders: int, count: int) -> Iterator[Rows]:
    """One after the other in each round, all on the same services."""
    with stage.pipeline(services=(*SERVICES, "ledger")) as pids:
        ledger = pids.pop("ledger")
        warm_up(stage)
        _catch_up(stage)
        for _ in range(count):
            followed = placed(stage, {**pids, "ledger": ledger}, orders)
            followed[LAG], _ = _catch_up(stage)
            os.kill(ledger, signal.SIGSTOP)
            try:
                before = _steps(stage)
                unfollowed = placed(stage, pids, orders)
            finally:
                os.kill(ledger, signal.SIGCONT)
            seconds, steps = _catch_up(stage)
            caught_up = {"per_second": (steps - before) / seconds, "python_cpu_us": 0.0}
            yield {FOLLOWED: followed, UNFOLLOWED: unfollowed, CAUGHT_UP: caught_up}


def _catch_up(stage: Stage) -> tuple[float, int]:
    """How long it takes until the ledger has every step that there is now, and how many that were ever."""
    began, steps = time.monotonic(), _steps(stage)
    last: Any = stage.store.xrevrange(keyspace.LOG, count=1)

    def is_done() -> bool:
        return bool(stage.store.get(keyspace.LEDGER_POSITION) == last[0][0])

    if not processes.wait_until(is_done, LONGEST_SECONDS, 0.01):
        raise TimeoutError(f"the ledger is behind after {LONGEST_SECONDS:.0f} s")
    return time.monotonic() - began, steps


def _steps(stage: Stage) -> int:
    told: Any = stage.store.xinfo_stream(keyspace.LOG)
    return int(told["entries-added"])
