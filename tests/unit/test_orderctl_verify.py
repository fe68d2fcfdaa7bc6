"""The commands around the proof say in one line what keeps them from working."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from orderctl.cli import app
from shared.failpoints import FAILPOINTS

runner = CliRunner()
NOBODY = "redis://127.0.0.1:9/0"


def test_a_store_that_is_away_is_one_line_and_status_2(tmp_path: Path) -> None:
    """Nothing can be judged, which is neither a pass nor a fault."""
    result = runner.invoke(app, ["verify", "--redis", NOBODY, "--data-dir", str(tmp_path / "data")])
    assert result.exit_code == 2
    assert "the store cannot be read" in result.output
    assert "Traceback" not in result.output


def test_a_system_that_never_was_is_one_line_and_status_2(tmp_path: Path) -> None:
    """Without a store of our own nobody else's is read."""
    result = runner.invoke(app, ["verify", "--data-dir", str(tmp_path / "data")])
    assert result.exit_code == 2
    assert "redis does not answer" in result.output


def test_a_ledger_that_is_none_is_refused(tmp_path: Path) -> None:
    """Another file by mistake is named with its line."""
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_text("hello\n", encoding="utf-8")
    command = ["verify", "--redis", NOBODY, "--ledger", str(ledger), "--data-dir", str(tmp_path / "data")]
    result = runner.invoke(app, command)
    assert result.exit_code == 1
    assert "line 1" in result.output
    assert runner.invoke(app, ["verify", "--ledger", str(tmp_path / "none")]).exit_code == 2


def test_a_demonstration_of_nothing_says_how_to_start(tmp_path: Path) -> None:
    """It shows a running system, and starts none."""
    result = runner.invoke(app, ["demo", "--data-dir", str(tmp_path / "data")])
    assert result.exit_code == 1
    assert "nothing runs" in result.output
    assert "make up" in result.output
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_every_failpoint_is_listed(options: list[str]) -> None:
    """For people and for scripts."""
    result = runner.invoke(app, ["failpoints", *options])
    assert result.exit_code == 0
    assert all(name in result.output for name in FAILPOINTS)
