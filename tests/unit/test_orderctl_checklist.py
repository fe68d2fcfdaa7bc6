"""The checklist shows each change once where there is no terminal, and an error says what to do next."""

import io
from pathlib import Path

from rich.console import Console

from orderctl import terminal
from orderctl.checklist import Checklist
from orderctl.errors import PartFailedError
from orderctl.progress import Step, StepState, note


def test_without_a_terminal_each_change_is_one_line() -> None:
    """A log of a build is not filled with the same line again and again."""
    output = io.StringIO()
    checklist = Checklist(Console(file=output, force_terminal=False))
    with checklist.shown():
        for state in (StepState.WORKING, StepState.WORKING, StepState.DONE):
            checklist(Step(name="redis", state=state))
        note(checklist, "port 6379 is taken: redis gets 6380")
    lines = output.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["working", "done", "!"]
    assert "6380" in lines[-1]


def test_on_a_terminal_the_list_stays_on_the_screen() -> None:
    """Every part is still to be read after the command has ended."""
    output = io.StringIO()
    checklist = Checklist(Console(file=output, force_terminal=True, width=100))
    with checklist.shown():
        checklist(Step(name="redis", state=StepState.DONE, detail="redis://127.0.0.1:6379/0"))
        checklist(Step(name="rabbitmq1", state=StepState.FAILED, detail="ended"))
    assert "redis://127.0.0.1:6379/0" in output.getvalue()
    assert "rabbitmq1" in output.getvalue()


def test_an_error_shows_the_end_of_the_log(tmp_path: Path) -> None:
    """What failed, the last lines of its log, and what to do next."""
    log = tmp_path / "notifier.log"
    log.write_text("first\nGATEWAY_PORT: not a port\n", encoding="utf-8")
    with terminal.err.capture() as capture:
        terminal.show_error(PartFailedError("notifier: ended 3 times", log=log))
    shown = capture.get()
    assert "notifier: ended 3 times" in shown
    assert "GATEWAY_PORT: not a port" in shown
    assert "next:" in shown
