"""``python -m tests.chaos.upgrade --from COMMIT``: a rolling upgrade under the load of a chaos run.

Services of an earlier commit run on a cluster of their own, and one after the other is replaced by that of
this tree, in the order of docs/kubernetes.md, while orders are placed, paid for, cancelled and delivered.
Both run on what is installed here. There is one of each, so its clients wait while it is replaced.
"""

import argparse
import asyncio
import io
import signal
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from shared.services import SERVICES
from tests.chaos.faults import UPGRADED
from tests.chaos.run import run
from tests.chaos.stages import RETENTION_SECONDS, Stage

ROOT: Final = Path(__file__).parents[2]
EARLIER: Final = "HEAD~50"
"""What is upgraded from where there is no release yet."""
ORDER: Final = tuple(reversed(tuple(SERVICES)))
"""What reads an event comes before what writes it, and what is asked before what asks."""
RATE: Final = 40.0


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
    commit = parser.parse_args().commit or released() or EARLIER
    for each in (signal.SIGINT, signal.SIGTERM):  # whichever ends it, its cluster ends with it
        signal.signal(each, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as folder:
        if not tree_of(commit, Path(folder)):
            sys.stdout.write(f"SKIPPED: this clone has no {commit} to upgrade from; --from names another\n")
            return 0
        return _upgrade(commit, Path(folder))


def _upgrade(commit: str, earlier: Path) -> int:
    stage = Stage(
        seed="upgrade",
        faults=[UPGRADED.format(name) for name in ORDER],
        rate=RATE,
        orders=0,
        retention_seconds=RETENTION_SECONDS,
        channel="log",
    )
    outcome, passed = "", False
    try:
        report = asyncio.run(run(stage, earlier))
        outcome = f"{report.orders} orders, {report.verdict}: {report.outcome}"
        passed = report.passed
    except* AssertionError as stuck:
        outcome = "; ".join(map(str, stuck.exceptions))
    sys.stdout.write(f"{commit} to this tree: {outcome}\n")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
