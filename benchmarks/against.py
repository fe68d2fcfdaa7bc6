"""This tree beside another commit's: services of both on one cluster, in turns, under this tree's load.

The other tree runs on this one's libraries, so that only the code differs.
"""

import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from benchmarks.contestants import Rows, ours
from benchmarks.growth import MANY_WAITING, drained
from benchmarks.stage import SERVICES, Stage
from orderctl.native.layout import project_root

T = TypeVar("T")
Pair = tuple[T, T]
"""This tree's, then the other's."""


def pairs_of_runs(stage: Stage, other: Path, orders: int, count: int) -> Iterator[Pair[Rows]]:
    """What `ours` says of either tree; whichever goes first changes from pair to pair."""
    for number in range(count):
        yield _in_turns(lambda tree: ours(stage, orders, tree=tree), other, is_first=bool(number % 2))


def pairs_of_drains(stage: Stage, other: Path, count: int) -> Iterator[Pair[float]]:
    """How many of 100,000 waiting orders either tree brings to their end in a second."""
    for number in range(count):
        yield _in_turns(
            lambda tree: drained(stage, MANY_WAITING, tree=tree)["per_second"],
            other,
            is_first=bool(number % 2),
        )


def _in_turns(run: Callable[[Path], T], other: Path, *, is_first: bool) -> Pair[T]:
    if is_first:
        theirs = run(other)
        return run(project_root()), theirs
    return run(project_root()), run(other)


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """The files of a commit in a folder that is removed afterwards; nothing is left in the repository."""
    words = ["git", "archive", "--format=tar", commit]
    archive = subprocess.run(words, cwd=project_root(), stdout=subprocess.PIPE, check=True).stdout
    with tempfile.TemporaryDirectory(prefix="bench-tree-") as folder:
        tree = Path(folder).resolve()
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(tree, filter="data")
        _check_imports(tree)
        yield tree


def _check_imports(tree: Path) -> None:
    """Raises RuntimeError where a package of the other tree would come from elsewhere."""
    packages = ("shared", *SERVICES)
    code = f"import {', '.join(packages)}; print(*({', '.join(f'{name}.__file__' for name in packages)},))"
    words = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    told = subprocess.run(words, cwd=tree, env=environment, capture_output=True, text=True, check=True)
    if strangers := [file for file in told.stdout.split() if tree not in Path(file).parents]:
        raise RuntimeError(f"not of {tree}: {', '.join(strangers)}")
