"""`status`, `logs` and `doctor`: look without touching."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from orderctl.commands.options import DataDir, LoggedPart
from orderctl.errors import UnknownPartError
from orderctl.log_lines import Level, LogFilter, moment
from orderctl.modes import current_system
from orderctl.system import PARTS, Mode
from orderctl.terminal import EXIT_FAILED, out, print_json, readable_errors

USUAL_ENTRIES: Final = 20


def status(
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Show every part: where it is, its process, and whether it can do its work; then what needs attention.

    Status 1 if a part cannot, unless all of them were ended by `down`.
    """
    from orderctl.attention import attention
    from orderctl.status import render

    with readable_errors():
        system = current_system(data_dir)
        current = system.status()
        sentences = attention(system, current)
        if as_json:
            print_json(current.as_json() | {"attention": sentences})
        else:
            out.print(render(current, sentences))
        if current.missing and system.layout.run_dir.exists():
            raise typer.Exit(EXIT_FAILED)


def logs(
    service: LoggedPart = None,
    following: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more.")] = False,
    order: Annotated[str | None, typer.Option(help="Only what names the order with this id.")] = None,
    level: Annotated[Level, typer.Option(help="Only what is at least so grave.")] = Level.DEBUG,
    since: Annotated[
        str | None, typer.Option(help="Only what is newer: 90s, 5m, 2h, 3d, or a time as RFC 3339 has it.")
    ] = None,
    lines: Annotated[
        int | None,
        typer.Option(
            "--lines",
            "-n",
            min=0,
            help=f"The latest so many of each part; {USUAL_ENTRIES}, or all with --order or --since.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool | None, typer.Option("--json/--text", help="JSON lines, or for people; JSON into a pipe.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Show the latest of all logs, merged by time, or of one part's."""
    from orderctl.follow import follow, follow_lines, latest
    from orderctl.log_view import LogView

    with readable_errors():
        now = datetime.now(UTC)
        wanted = LogFilter(order_id=order, level=level, since=moment(since, now) if since else None)
        most = USUAL_ENTRIES if lines is None and order is None and since is None else lines
        view = LogView(as_json=not out.is_terminal if as_json is None else as_json)
        system = current_system(data_dir)

        def files() -> Mapping[str, Path]:
            return {part: log for part, log in system.logs().items() if service in (None, part)}

        there = system.logs()
        if service is not None and service not in {*there, *(PARTS if following else ())}:
            raise UnknownPartError(f"{service} has no log; there are: {', '.join(there) or 'none yet'}")
        if following and system.mode is not Mode.DOCKER:
            follow(files, wanted, most, view.show)
            return
        for entry in latest(files(), wanted, most):
            view.show(entry)
        if following:
            follow_lines(system.added_lines(service, now), wanted, view.show)


def doctor(data_dir: DataDir = None) -> None:
    """Look for what keeps the pipeline from working, or could, and say what helps. Status 1 if so."""
    from orderctl.doctor import examine

    with readable_errors():
        findings = examine(current_system(data_dir))
        for finding in findings:
            out.print(finding.rendered())
        if any(finding.is_fault for finding in findings):
            raise typer.Exit(EXIT_FAILED)
