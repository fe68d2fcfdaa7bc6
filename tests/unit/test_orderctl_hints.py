"""What is advised exists: each command that a message or a document names can be called like that."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from orderctl.cli import app
from orderctl.commands.table import COMMANDS
from orderctl.hints import _GROUPS

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"(?<!by )(?<![\w-])orderctl ([a-z]+)(?: ([a-z]+))?([^`;,\n\"']*)")


@pytest.fixture(scope="module")
def commands() -> dict[str, Any]:
    """Each command, imported."""
    group: Any = get_command(app)
    context = group.make_context("orderctl", [], resilient_parsing=True)
    return {name: group.resolve_command(context, [name])[1] for name in COMMANDS}


def said_by(path: Path) -> Iterator[str]:
    """The texts of a program that are no docstrings; the whole of a document."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield text
        return
    tree = ast.parse(text)
    silent = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent:
            yield node.value


def sources() -> Iterator[Path]:
    """Whatever speaks to people about the command."""
    yield from (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "Makefile")
    yield from ROOT.glob("docs/*.md")
    for package in ("orderctl", "dashboard", "shared", "api_gateway"):
        yield from (path for path in (ROOT / package).rglob("*") if path.suffix in {".py", ".html"})


def test_every_command_that_is_named_can_be_called_like_that(commands: dict[str, Any]) -> None:
    """The command, that of its group, and each option."""
    wrong = []
    for path in sources():
        for text in said_by(path):
            for first, second, rest in NAMED.findall(text):
                command = commands.get(first)
                if second and (inner := getattr(command, "commands", None)):
                    command = inner.get(second)
                options = {each for option in getattr(command, "params", ()) for each in option.opts}
                if command is None or set(re.findall(r"(?<!\w)--[a-z-]+", rest)) - options - {"--help"}:
                    wrong.append(f"{path.relative_to(ROOT)}: orderctl {first} {second}{rest}")
    assert wrong == []


def test_a_hint_knows_which_commands_are_groups(commands: dict[str, Any]) -> None:
    """Else an option would be put between the group and its command."""
    groups = {name for name, command in commands.items() if hasattr(command, "commands")}
    assert groups == set(_GROUPS.split("|"))
