"""`orderctl events` over what a dashboard sends."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from typer.testing import CliRunner

from orderctl.cli import app
from orderctl.commands import events
from orderctl.dead_letters import DeadLetterClient

STEPS = [
    {"id": f"{n}-0", "data": {"order_id": "a\x1b[2J", "n": n, "step": step, "at": "2026-11-29T10:00:01.5Z"}}
    for n, step in enumerate(("accepted", "created"), start=1)
]
DOWN = {"event": "system.degraded", "data": {"cause": "Broker node rabbitmq2 does not run"}}


class Ended(BaseException):
    """The test has seen enough."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids behind which a dashboard was asked, which dies after each event and is away in between."""
    asked: list[str] = []

    def told(_: DeadLetterClient, last_id: str) -> Iterator[Mapping[str, Any]]:
        asked.append(last_id)
        if len(asked) == 4:
            raise Ended
        if len(asked) == 2:
            raise ConnectionRefusedError("it does not answer")
        yield {"event": "begin", "id": last_id, "data": {}}
        yield STEPS[len(asked) // 2]
        if len(asked) == 3:
            yield DOWN

    monkeypatch.setattr(DeadLetterClient, "events", told)
    monkeypatch.setattr(events, "PAUSE_SECONDS", 0.0)
    return asked


def test_what_happens_is_told_over_a_dashboard_that_dies(
    asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Once each: it goes on behind what it saw last; what strangers chose to call things does not act."""
    with pytest.raises(Ended):
        app(["events", "--all", "-f", "--url", "http://127.0.0.1:1"])
    assert asked == ["0-0", "1-0", "1-0", "2-0"]
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == r"10:00:01  a\x1b[2J  accepted"
    assert second == r"10:00:01  a\x1b[2J  created"
    assert third.endswith("system.degraded  Broker node rabbitmq2 does not run")


def test_a_dashboard_that_is_not_there_ends_it() -> None:
    """With the reason."""
    result = CliRunner().invoke(app, ["events", "--url", "http://127.0.0.1:1"])
    assert result.exit_code == 1
    assert "does not answer" in result.output
