"""Kinds of problem: one catalogue, in which a name means one thing."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("shared", "api_gateway", "order_processor", "notifier", "dashboard", "accounts", "orderctl")


def kinds() -> Iterator[tuple[Path, str]]:
    """Each place where a kind of problem is made, and its name."""
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ProblemType":
                named = {keyword.arg: keyword.value for keyword in node.keywords}
                yield path, ast.literal_eval(named["name"])


def test_a_kind_of_problem_stands_once() -> None:
    """The same URI with two titles was two kinds."""
    names = [name for _, name in kinds()]
    assert len(names) > 20
    assert sorted(set(names)) == sorted(names)


def test_kinds_stand_in_the_catalogue_or_with_the_only_service_that_knows_them() -> None:
    """So that a new one is found where one looks."""
    assert {path.name for path, _ in kinds()} == {"problems.py"}
