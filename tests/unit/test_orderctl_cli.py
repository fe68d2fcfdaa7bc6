"""The command line says clearly what it did, what it cannot do yet, and what was wrong."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orderctl.cli import app
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
    assert set(status) == {"mode", "data_dir", "services", "rabbitmq", "redis", "cache", "postgres"}
    assert set(status["services"]) == set(SERVICES)
    assert set(status["services"]["notifier"]) == {"url", "ops_url", "pid", "ready"}
    assert [set(node) for node in status["rabbitmq"]] == [
        {"node", "amqp_url", "management_url", "pid", "running"}
    ] * 3
    assert [status[store]["pid"] for store in ("redis", "cache", "postgres")] == [None] * 3


@pytest.mark.parametrize("group", [[], ["order"], ["inventory"], ["dead"]])
def test_help_offers_nothing_that_changes_the_shell(group: list[str]) -> None:
    """Completion is not offered by some commands and by others not."""
    assert "completion" not in runner.invoke(app, [*group, "--help"]).output


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
