"""A copy of this tree with one more consumer in it, added as CONTRIBUTING says: one folder and one row."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

from orderctl.scaffold import with_row

ROOT: Final = Path(__file__).parents[2]
EXAMPLE: Final = ROOT / "tests" / "examples" / "fraud_check"
ROW: Final = """    Consumption(
        service="fraud_check",
        work="fraud_check",
        exchange=EVENTS_EXCHANGE,
        routing_key="order.created",
        queues="fraud_check",
        settings="FRAUD_CHECK",
        operations_port=9103,
    ),
"""


def copy_of_this_tree(target: Path) -> Path:
    """Copies what git knows of, and new files, to ``target``, which is returned."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in listed.splitlines():
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def tree_with_fraud_check(target: Path) -> Path:
    """Such a copy with the example in it."""
    copy_of_this_tree(target)
    shutil.copytree(EXAMPLE, target / EXAMPLE.name, ignore=shutil.ignore_patterns("__pycache__"))
    pipeline = target / "shared" / "pipeline.py"
    pipeline.write_text(with_row(pipeline.read_text(encoding="utf-8"), ROW), encoding="utf-8")
    return target
