"""A copy of this tree with one more consumer in it, added as CONTRIBUTING says: one folder and one row."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

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
_BEHIND_THE_ROWS: Final = ")\n\nBINDINGS"


def tree_with_fraud_check(target: Path) -> Path:
    """Copies what git knows of, and new files, to ``target``, and adds the example. Returns ``target``."""
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
    shutil.copytree(EXAMPLE, target / EXAMPLE.name, ignore=shutil.ignore_patterns("__pycache__"))
    pipeline = target / "shared" / "pipeline.py"
    text = pipeline.read_text(encoding="utf-8")
    assert text.count(_BEHIND_THE_ROWS) == 1
    pipeline.write_text(text.replace(_BEHIND_THE_ROWS, ROW + _BEHIND_THE_ROWS), encoding="utf-8")
    return target
