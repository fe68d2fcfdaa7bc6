"""The command line says clearly what it did, what it cannot do yet, and what was wrong."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orderctl.cli import app
from orderctl.commands.table import COMMANDS, GROUPS
from orderctl.native.ports import NODE_NAMES
from shared.services import SERVICES

runner = CliRunner()


def test_a_mode_that_cannot_be_had_here_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An unavailable mode is one line, another one to take, and status 2."""
    monkeypatch.setattr("orderctl.docker.engine.engine_version", lambda: None)
    result = runner.invoke(app, ["up", "--mode", "docker", "--data-dir", str(tmp_path / "data")])
    assert result.exit_code == 2
    assert "no Docker engine answers" in result.output
    assert "orderctl up --mode native" in result.output


def test_status_of_nothing_is_complete_json(tmp_path: Path) -> None:
    """Scripts find every part, with null for the pids, also when nothing runs."""
    result = runner.invoke(app, ["status", "--json", "--data-dir", str(tmp_path / "data")])
    status = json.loads(result.output)
    assert result.exit_code == 0
    parts = {"services", "rabbitmq", "redis", "cache", "postgres"}
    assert set(status) == {"mode", "data_dir", "attention", *parts}
    assert set(status["services"]) == set(SERVICES)
    assert set(status["services"]["notifier"]) == {"url", "ops_url", "pid", "ready"}
    assert [set(node) for node in status["rabbitmq"]] == [
        {"node", "amqp_url", "management_url", "pid", "running"}
    ] * 3
    assert [status[store]["pid"] for store in ("redis", "cache", "postgres")] == [None] * 3


@pytest.mark.parametrize("name", COMMANDS)
def test_what_the_list_says_of_a_command_is_what_its_help_begins_with(name: str) -> None:
    """The list is made without asking the commands themselves. None offers to change the shell."""
    said = runner.invoke(app, [name, "--help"], terminal_width=200).output
    assert COMMANDS[name][1].rstrip(".") in " ".join(said.split())
    assert "--install-completion" not in said


def test_help_groups_the_commands_and_gives_examples_that_can_be_pasted() -> None:
    """Each command once; no argument is the same, with status 2."""
    said = runner.invoke(app, ["--help"])
    words = said.output.split()
    assert [word[:-1] for word in words if word[:-1] in GROUPS and word.endswith(":")] == list(GROUPS)
    assert all(re.search(rf"^  {name} ", said.output, re.MULTILINE) for name in COMMANDS)
    assert said.output.count("$ ") == sum(len(group.examples) for group in GROUPS.values())
    assert (said.exit_code, runner.invoke(app, []).exit_code) == (0, 2)


def test_the_version_is_said() -> None:
    """That of the package."""
    assert runner.invoke(app, ["--version"]).output == f"orderctl {version('order-pipeline')}\n"


def test_a_mistyped_command_is_answered_with_its_name() -> None:
    """Status 2: nothing was tried."""
    result = runner.invoke(app, ["staus"])
    assert (result.exit_code, "'status'" in result.output) == (2, True)


@pytest.mark.parametrize(
    ("words", "unneeded"),
    [
        (["--help"], {"asyncio", "pydantic", "rich", "orderctl.modes", "shared.messages"}),
        (["status"], {"aiohttp", "sqlalchemy", "orderctl.docker", "orderctl.embedded", "orderctl.doctor"}),
    ],
)
def test_a_command_starts_without_what_others_need(
    words: list[str], unneeded: set[str], tmp_path: Path
) -> None:
    """Each of these is a tenth of a second that an operator waits."""
    program = "import sys; from orderctl.cli import main\ntry: main()\nfinally: print(*sys.modules)"
    environment = {**os.environ, "ORDERCTL_DATA_DIR": str(tmp_path / "data")}
    called = [sys.executable, "-c", program, *words]
    printed = subprocess.run(called, capture_output=True, text=True, check=True, env=environment).stdout
    assert set(printed.splitlines()[-1].split()) & unneeded == set()


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("orderctl lo", {"logs", "load"}),
        ("orderctl kill rabbitmq", set(NODE_NAMES)),
        ("orderctl logs ord", {"order_processor"}),
        ("orderctl logs --level w", {"warning"}),
        ("orderctl order ship", {"ship"}),
        ("orderctl up --mode e", {"embedded"}),
    ],
)
def test_bash_completes_commands_parts_and_choices(typed: str, offered: set[str]) -> None:
    """By the script that `completion` prints, under whichever path the command is typed."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    words = typed.split(" ")
    ask = 'eval "$2"; COMP_WORDS=("${@:3}"); COMP_CWORD=$(($# - 3)); _orderctl "$1"; echo "${COMPREPLY[@]}"'
    command = str(Path(sys.executable).with_name("orderctl"))
    script = runner.invoke(app, ["completion", "bash"]).output
    answered = subprocess.run(
        [bash, "-c", ask, "bash", command, script, *words], capture_output=True, text=True, check=True
    )
    assert set(answered.stdout.split()) == offered, answered.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script_too(shell: str) -> None:
    """It hands over what was typed as typer expects it."""
    script = runner.invoke(app, ["completion", shell]).output
    assert f"_ORDERCTL_COMPLETE=complete_{shell}" in script
    assert "_TYPER_COMPLETE_ARGS=" in script


def test_looking_makes_no_folder(tmp_path: Path) -> None:
    """Looking at a system that never was, or ending it, leaves no trace."""
    for command in (["status"], ["down"], ["doctor"], ["logs"]):
        result = runner.invoke(app, [*command, "--data-dir", str(tmp_path / "data")])
        assert result.exit_code == 0, result.output
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("command", ["kill", "stop", "start"])
def test_an_unknown_part_is_refused_by_name(command: str, tmp_path: Path) -> None:
    """A typo is answered with the names that exist."""
    result = runner.invoke(app, [command, "rabbitmq4", "--data-dir", str(tmp_path / "data")])
    assert result.exit_code == 2
    assert "rabbitmq3" in result.output
    assert "dashboard" in result.output


def test_a_wrong_port_setting_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that is none stops the command with one line that names the variable."""
    monkeypatch.setenv("GATEWAY_PORT", "eighty")
    result = runner.invoke(app, ["status", "--data-dir", str(tmp_path / "data")])
    assert result.exit_code == 1
    assert "GATEWAY_PORT" in result.output
