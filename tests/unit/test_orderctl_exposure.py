"""A gateway that takes requests without a token is published on this machine alone."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from orderctl import environment
from orderctl.cli import app
from orderctl.doctor import Severity, examine
from orderctl.embedded.system import EmbeddedSystem
from orderctl.exposure import exposure


@pytest.mark.parametrize(
    ("host", "settings", "is_wrong"),
    [
        ("127.0.0.1", {}, False),
        ("localhost", {"GATEWAY_AUTH": "optional"}, False),
        ("0.0.0.0", {}, True),  # noqa: S104 - what is refused
        ("192.0.2.7", {"GATEWAY_AUTH": "optional"}, True),
        ("::", {"GATEWAY_AUTH": ""}, True),
        ("0.0.0.0", {"GATEWAY_AUTH": "required"}, False),  # noqa: S104 - with tokens it may be
    ],
)
def test_off_loopback_a_token_is_required(host: str, settings: dict[str, str], is_wrong: bool) -> None:
    """Every request would be an operator's otherwise."""
    assert (exposure(host, settings) is not None) == is_wrong


@pytest.fixture
def exposed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An operator who chose an address and no more, in a checkout without `.env`."""
    monkeypatch.setattr(environment, "project_root", lambda: tmp_path)
    monkeypatch.setenv("GATEWAY_HOST", "0.0.0.0")  # noqa: S104 - what is refused
    monkeypatch.delenv("GATEWAY_AUTH", raising=False)


def test_up_refuses_it(exposed: None, tmp_path: Path) -> None:
    """Before anything is started, with what to do."""
    folder = str(tmp_path / "data")
    done = CliRunner().invoke(app, ["up", "--mode", "embedded", "--data-dir", folder])
    assert done.exit_code == 1
    assert "GATEWAY_AUTH=required" in done.output


def test_doctor_says_so(exposed: None, tmp_path: Path) -> None:
    """As a fault."""
    findings = examine(EmbeddedSystem(tmp_path / "data"))
    assert any("without a token" in each.what for each in findings if each.severity is Severity.FAULT)
