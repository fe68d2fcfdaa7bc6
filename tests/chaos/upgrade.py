"""``python -m tests.chaos.upgrade --from COMMIT``: a rolling upgrade under the load of a chaos run.

Services of an earlier commit run on a cluster of their own, and one after the other is replaced by that of
this tree, in the order of docs/kubernetes.md, while orders are placed, paid for, cancelled and delivered.
Natively both run on what is installed here. There is one of each, so its clients wait while it is replaced.
With ``--mode docker`` they are images of both trees in a compose project, brokers and stores are replaced too
where their definition has changed, and each service's successor starts beside it.
"""

import argparse
import asyncio
import io
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from orderctl.docker.provision import ensure_engine
from orderctl.errors import OrderctlError
from orderctl.system import Mode
from shared.services import SERVICES
from tests.chaos import rolling
from tests.chaos.faults import UPGRADED
from tests.chaos.report import Report
from tests.chaos.run import run
from tests.chaos.stages import RETENTION_SECONDS, Stage

ROOT: Final = Path(__file__).parents[2]
EARLIER: Final = "HEAD~50"
"""What is upgraded from where there is no release yet."""
ORDER: Final = tuple(reversed(tuple(SERVICES)))
"""What reads an event comes before what writes it, and what is asked before what asks."""
RATES: Final = {Mode.NATIVE: 40.0, Mode.DOCKER: 20.0}
"""Orders per second: containers leave less of two cores."""


def tree_of(commit: str, folder: Path) -> bool:
    """Puts the files of a commit into a folder; False where this clone does not have it."""
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        return False
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return True


def released() -> str | None:
    """The newest release before this commit, None where this clone has none."""
    asked = ["git", "describe", "--tags", "--abbrev=0", "HEAD^"]
    found = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def main() -> int:
    """The exit status; 0 with a word where there is nothing to upgrade from."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.upgrade", description=__doc__)
    parser.add_argument("--from", dest="commit", help=f"the last release, or {EARLIER}, if not given")
    parser.add_argument("--mode", choices=[*RATES], type=Mode, default=Mode.NATIVE)
    options = parser.parse_args()
    commit = options.commit or released() or EARLIER
    for each in (signal.SIGINT, signal.SIGTERM):  # whichever ends it, its cluster ends with it
        signal.signal(each, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as folder:
        if not tree_of(commit, Path(folder)):
            sys.stdout.write(f"SKIPPED: this clone has no {commit} to upgrade from; --from names another\n")
            return 0
        return _upgrade(commit, Path(folder), options.mode)


def stage_of(mode: Mode, parts: Sequence[str]) -> Stage:
    """A load for as long as these parts are replaced."""
    return Stage(
        seed="upgrade",
        faults=[UPGRADED.format(name) for name in parts],
        rate=RATES[mode],
        orders=0,
        retention_seconds=RETENTION_SECONDS,
        channel="log",
    )


def _upgrade(commit: str, earlier: Path, mode: Mode) -> int:
    outcome, passed, began = "", False, time.monotonic()
    try:
        report, told = _in_containers(earlier) if mode is Mode.DOCKER else _natively(earlier)
        outcome = f"{report.orders} orders, {report.verdict}: {report.outcome}{told}"
        passed = report.passed
    except* (AssertionError, OrderctlError) as stuck:
        outcome = "; ".join(map(str, stuck.exceptions))
    seconds = time.monotonic() - began
    sys.stdout.write(f"{commit} to this tree: {outcome}\n{seconds:.0f} s in all\n")
    return 0 if passed else 1


def _natively(earlier: Path) -> tuple[Report, str]:
    return asyncio.run(run(stage_of(Mode.NATIVE, ORDER), earlier)), ""


def _in_containers(earlier: Path) -> tuple[Report, str]:
    ensure_engine()
    with tempfile.TemporaryDirectory() as folder:
        later = Path(folder) / "later"
        rolling.copy_of_this_tree(later)
        parts = (*rolling.changed_parts(earlier, later), rolling.BROKER_USERS, *ORDER)
        log = Path(folder) / "notifier.log"
        report, told = asyncio.run(rolling.run(stage_of(Mode.DOCKER, parts), (earlier, later), log))
        return report, f"\n{told}"


if __name__ == "__main__":
    sys.exit(main())
