"""Odd arguments, environments and texts of strangers: one line each, no traceback, nothing that acts."""

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest
from rich.console import Group, RenderableType
from rich.json import JSON
from rich.table import Table
from rich.text import Text
from typer.testing import CliRunner

from orderctl import cli, hints
from orderctl.cli import app
from orderctl.dead_view import in_full, overview
from orderctl.modes import system_for
from orderctl.native import processes
from orderctl.native.layout import LONGEST_PATH_BYTES, Layout
from orderctl.oracle import StockState, Verdict
from orderctl.status import render
from orderctl.system import Mode
from orderctl.terminal import out, say, shown
from orderctl.verification import report
from orderctl.verification.promises import Promises
from orderctl.verification.snapshot import Snapshot
from orderctl.verification.verification import Reconciliation

EVIL = "\x1b[2J\x1b]52;c;ZXZpbA==\x07\u202egnp.exe\u2066\x9b31m[bold]x[/bold][/]\x00"


def errors_of(*words: str, environment: dict[str, str] | None = None) -> list[str]:
    """The lines of a refusal, which is no success."""
    result = CliRunner().invoke(app, list(words), env=environment)
    assert result.exit_code not in (0, None), result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.output.splitlines()


@pytest.mark.parametrize(
    "name",
    [
        *("q'uote", 'q"uote', "new\nline", "es\x1bcape", "dol$lar", "back\\slash", "semi;colon", "x" * 300),
        "/".join(["y" * 100] * (LONGEST_PATH_BYTES // 100 + 1)),
    ],
    ids=lambda name: name[:8],
)
@pytest.mark.parametrize("mode", [Mode.NATIVE, Mode.EMBEDDED])
def test_a_data_folder_that_a_program_could_not_take_is_refused(
    tmp_path: Path, name: str, mode: Mode
) -> None:
    """Before anything is made or started: brokers would hang in their boot."""
    (line,) = errors_of("up", "--mode", mode, "--data-dir", str(tmp_path / name))
    assert "--data-dir" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["up", "--mode", "native"], ["up", "--mode", "embedded"]])
@pytest.mark.parametrize("folder", ["/dev/null", "/dev/null/below", "/proc/nobody"])
def test_a_data_folder_that_cannot_be_made_is_refused(command: list[str], folder: str) -> None:
    """A file stands there, or nothing may be made there."""
    (line,) = errors_of(*command, "--data-dir", folder)
    assert folder in line


@pytest.mark.parametrize("name", ["d[x]", "q'uote", "sp ace", "\u00fcml\u00e4ut", "[bold]"])
def test_looking_at_a_system_that_never_was_prints_its_folder_as_it_is(tmp_path: Path, name: str) -> None:
    """Brackets are no markup."""
    result = CliRunner().invoke(app, ["status", "--data-dir", str(tmp_path / name)])
    assert (result.exit_code, str(tmp_path / name) in result.output) == (0, True)


@pytest.mark.parametrize(
    ("words", "environment", "named"),
    [
        (["order", "list", "--url", "ftp://h"], {}, "--url"),
        (["order", "list", "--url", "http://h:port"], {}, "--url"),
        (["load", "--url", "nonsense"], {}, "--url"),
        (["inventory", "list"], {"ORDERCTL_GATEWAY_URL": "http://[::1"}, "ORDERCTL_GATEWAY_URL"),
        (["dead", "list"], {"ORDERCTL_DASHBOARD_URL": "http://h/%zz"}, "ORDERCTL_DASHBOARD_URL"),
        (["verify", "--redis", "redis://h/abc"], {}, "--redis"),
        (["verify"], {"ORDERCTL_REDIS_URL": "redis://h?socket_timeot=3"}, "ORDERCTL_REDIS_URL"),
        (["verify", "--database", "mysql://h/ledger"], {}, "--database"),
        (["verify"], {"REDIS_URL": "redis://h/99"}, "REDIS_URL"),
        (["status"], {"GATEWAY_PORT": "\u0663"}, "GATEWAY_PORT"),
        (["status"], {"DASHBOARD_PORT": "0"}, "DASHBOARD_PORT"),
    ],
)
def test_an_address_that_is_none_is_named(
    tmp_path: Path, words: list[str], environment: dict[str, str], named: str
) -> None:
    """By the option or variable that it came from."""
    (line,) = errors_of(*words, "--data-dir", str(tmp_path), environment=environment)
    assert named in line


def test_a_dotenv_file_in_another_encoding_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command reads the operator's ports from it."""
    (tmp_path / ".env").write_bytes(b"# f\xfcr den Betrieb\n")
    monkeypatch.setattr("orderctl.environment.project_root", lambda: tmp_path)
    (line,) = errors_of("status")
    assert str(tmp_path / ".env") in line


def ended(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str
) -> tuple[object, str]:
    """Status and errors of the installed command."""
    monkeypatch.setattr(sys, "argv", ["orderctl", *words])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code, capsys.readouterr().err


def test_an_argument_that_is_no_text_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes are shown escaped."""
    status, said = ended(capsys, monkeypatch, "order", "show", os.fsdecode(b"or\xffder"))
    assert (status, said) == (2, "error: the argument or\\udcffder is no text in UTF-8\n")


def test_the_folder_of_another_user_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What may not be read is named, with the system's reason."""

    def refuse(layout: Layout, name: str) -> None:
        raise PermissionError(13, "Permission denied", str(layout.record(name)))

    monkeypatch.setattr(processes, "read_record", refuse)
    status, said = ended(capsys, monkeypatch, "kill", "redis", "--data-dir", str(tmp_path))
    assert (status, said) == (1, f"error: {tmp_path}/run/redis.json: Permission denied\n")


def test_a_ledger_that_cannot_be_written_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many clients met it."""
    words = ("load", "--orders", "9", "--url", "http://127.0.0.1:9", "--ledger", "/dev/full")
    status, said = ended(capsys, monkeypatch, *words)
    assert (status, said) == (1, "error: No space left on device\n")


def run_with_output_to(stdout: IO[bytes] | int, folder: Path) -> "subprocess.CompletedProcess[bytes]":
    """`orderctl status` as a process of its own."""
    command = [sys.executable, "-m", "orderctl", "status", "--data-dir", str(folder)]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, check=False, timeout=60)


def test_a_disk_without_room_for_the_output_is_one_line(tmp_path: Path) -> None:
    """And no success."""
    with Path("/dev/full").open("wb") as full:
        result = run_with_output_to(full, tmp_path)
    assert result.returncode == 1
    assert result.stderr == b"error: No space left on device\n"


def test_a_reader_that_has_gone_is_no_traceback(tmp_path: Path) -> None:
    """`orderctl status | true`."""
    reading, writing = os.pipe()
    os.close(reading)
    result = run_with_output_to(writing, tmp_path)
    os.close(writing)
    assert (result.returncode, result.stderr) == (1, b"")


def table_of(text: str) -> Table:
    """A table with a text of a stranger in title, heading and cell."""
    table = Table(title=text)
    table.add_column(text)
    table.add_row(text)
    return table


def letter(text: str) -> dict[str, object]:
    """A dead letter with that in every field."""
    fields = dict.fromkeys(("id", "reason", "last_error", "type", "correlation_id"), text)
    return {**fields, "attempts": 1, "age_seconds": 1.0, "redriven": 0, "body": {"email": text}}


@pytest.mark.parametrize(
    "renderable",
    [
        EVIL,
        Text(EVIL),
        table_of(EVIL),
        Group(EVIL, Text(EVIL, style="red")),
        JSON.from_data({"x": EVIL}, ensure_ascii=False),
        overview([letter(EVIL)]),
        in_full(letter(EVIL)),
        shown(EVIL),
    ],
    ids=["str", "text", "table", "group", "json", "dead list", "dead show", "one line"],
)
def test_text_of_strangers_acts_on_no_terminal(renderable: RenderableType) -> None:
    """Whatever it is printed as, controls and bidi marks are shown escaped."""
    with out.capture() as captured:
        out.print(renderable)
    assert all(each.isprintable() for each in captured.get().replace("\n", "").replace("\x1b[31m", ""))
    assert "202e" in captured.get()


def test_a_line_of_a_stranger_stays_one_line() -> None:
    """It forges no second one."""
    with out.capture() as captured:
        say("one\nerror: two")
    assert captured.get() == "one\\nerror: two\n"


@pytest.mark.parametrize(
    ("called", "options", "expected"),
    [
        ("/o/orderctl", (), "/o/orderctl start redis, or /o/orderctl up --mode native"),
        ("/x y/orderctl", (), "'/x y/orderctl' start redis, or '/x y/orderctl' up --mode native"),
        (
            "/o/orderctl",
            ("--data-dir", "/d e"),
            "/o/orderctl start --data-dir '/d e' redis, or /o/orderctl up --mode native --data-dir '/d e'",
        ),
    ],
)
def test_hints_can_be_pasted(
    monkeypatch: pytest.MonkeyPatch, called: str, options: tuple[str, ...], expected: str
) -> None:
    """They name the command as it was called, and the folder that it was called for."""
    monkeypatch.setattr(sys, "argv", [called])
    hints.repeat_option(*options)
    try:
        assert hints.as_called("orderctl start redis, or orderctl up --mode native") == expected
    finally:
        hints.repeat_option()


def test_hints_at_another_gateway_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the command takes its URL: what only knows this machine is not given one."""
    monkeypatch.setattr(sys, "argv", ["/o/orderctl"])
    hints.repeat_url("--url", "http://shop:8080")
    try:
        said = hints.as_called("orderctl order show o1, or orderctl ledger status")
    finally:
        hints.repeat_url()
    assert said == "/o/orderctl order show --url http://shop:8080 o1, or /o/orderctl ledger status"


@pytest.mark.parametrize("words", [("inventory", "set", "x"), ("order", "place", "--sku", "x", "--qty")])
def test_a_number_that_no_message_can_hold_is_one_line(words: tuple[str, ...]) -> None:
    """It was a traceback."""
    (line,) = errors_of(*words, "9" * 20, "--url", "http://127.0.0.1:9")
    assert "64-bit" in line


def test_what_the_proof_advises_can_be_pasted(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the folder that was looked at, as every other hint. The first counts add up to all orders."""
    monkeypatch.setattr(sys, "argv", ["/o/orderctl"])
    hints.repeat_option("--data-dir", "/d")
    snapshot = Snapshot(stock=StockState(decided=0, available={}, reserved={}), sizes={}, outbox=0)
    verdict = Verdict(orders=9, created=5, rejected=1, cancelled=2, scheduled=1, dead=["o-1"], stuck=["o-2"])
    try:
        with out.capture() as captured:
            out.print(report.render(Reconciliation(verdict=verdict, snapshot=snapshot, promises=Promises())))
    finally:
        hints.repeat_option()
    told = captured.get()
    assert "/o/orderctl dead list --data-dir /d" in told
    assert "/o/orderctl verify --republish --data-dir /d" in told
    counts = "5 created, 1 rejected, 3 without a decision; among all of these 2 cancelled and 1 scheduled"
    assert counts in " ".join(told.split())


def test_the_state_of_a_system_in_an_odd_folder_is_shown(tmp_path: Path) -> None:
    """An escape sequence in its path too."""
    with out.capture() as captured:
        out.print(render(system_for(Mode.NATIVE, tmp_path / "es\x1bcape").status()))
    assert "es\\x1bcape" in captured.get()
