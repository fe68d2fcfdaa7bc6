"""`orderctl new consumer`: what it writes works as it is, beside everything else."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.embedded import operator_of_embedded
from tests.harness.overlay import copy_of_this_tree
from tests.harness.waiting import wait_until

NAME = "stock_taker"  # behind "shared" in the alphabet, as most names are not
FIRST_PORT = 29_300


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which one was begun."""
    tree = copy_of_this_tree(tmp_path_factory.mktemp("tree"))
    told = run(tree, "orderctl", "new", "consumer", NAME)
    assert told.returncode == 0, told.stderr
    for path in (f"{NAME}/main.py", "docs/events/asyncapi.json"):
        assert f"wrote {path}" in told.stderr + told.stdout
    return tree


def run(tree: Path, module: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A Python module of that checkout."""
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)


def test_what_it_writes_is_short_passes_its_test_and_the_linter(tree: Path) -> None:
    """The consumer itself is some twenty lines."""
    assert len((tree / NAME / "main.py").read_text().splitlines()) <= 20
    for module, *arguments in (
        ("pytest", "-q", f"tests/unit/test_{NAME}.py"),
        ("ruff", "check", NAME, f"tests/unit/test_{NAME}.py", "shared/pipeline.py"),
        ("ruff", "format", "--check", NAME, f"tests/unit/test_{NAME}.py", "shared/pipeline.py"),
        ("mypy", NAME),
    ):
        ended = run(tree, module, *arguments)
        assert ended.returncode == 0, ended.stdout + ended.stderr


def test_it_is_deployed_as_all_others_are(tree: Path) -> None:
    """Whatever names services names it: compose, Prometheus, Kubernetes, rights, settings, the events."""
    tests = [
        f"tests/unit/test_{what}.py" for what in ("services", "compose", "documentation", "orderctl_docker")
    ]
    for module, *arguments in (("pytest", "-q", *tests), ("tests.contracts",), ("tests.kubernetes",)):
        ended = run(tree, module, *arguments)
        assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize(("name", "why"), [(NAME, "already"), ("notifier", "already"), ("../x", "no name")])
def test_a_name_that_cannot_be_is_refused(tree: Path, name: str, why: str) -> None:
    """And nothing is written."""
    before = (tree / "shared/pipeline.py").read_text()
    ended = run(tree, "orderctl", "new", "consumer", name)
    assert (ended.returncode, why in ended.stderr) == (1, True), ended.stderr
    assert (tree / "shared/pipeline.py").read_text() == before


async def test_it_runs_with_the_others_and_is_told_of_orders(tree: Path, tmp_path: Path) -> None:
    """Seen by `status` like every other, once `up` has been called."""
    with operator_of_embedded(tmp_path / "data", FIRST_PORT, tree=tree, more=[f"{NAME}.ops"]) as operator:
        operator.types("up", "--mode", "embedded")
        assert operator.status()["services"][NAME]["ready"]
        operator.types("inventory", "set", "cable", "5")
        operator.types("order", "place", "--id", "order1", "--sku", "cable")
        await wait_until(lambda: "order1" in operator.types("logs", NAME), what="the order in its log")
