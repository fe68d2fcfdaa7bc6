"""`status`, `logs` and `doctor`: look without touching."""

from typing import Annotated

import typer

from orderctl.commands.options import DataDir
from orderctl.docker.system import DockerSystem
from orderctl.doctor import examine
from orderctl.errors import UnknownPartError
from orderctl.follow import follow, show_tail
from orderctl.modes import current_system
from orderctl.status import render
from orderctl.terminal import EXIT_FAILED, out, print_json, readable_errors


def status(
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Show every part: where it is, its process, and whether it can do its work.

    Status 1 if a part cannot, unless all of them were ended by `down`.
    """
    with readable_errors():
        system = current_system(data_dir)
        current = system.status()
        if as_json:
            print_json(current.as_json())
        else:
            out.print(render(current))
        if current.missing and system.layout.run_dir.exists():
            raise typer.Exit(EXIT_FAILED)


def logs(
    service: Annotated[str | None, typer.Argument(metavar="[NAME]", help="All parts if left out.")] = None,
    following: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many to begin with.")] = 20,
    data_dir: DataDir = None,
) -> None:
    """Show the end of the logs, each line under the name of its part."""
    with readable_errors():
        system = current_system(data_dir)
        if following and isinstance(system, DockerSystem):
            system.follow_logs(service, lines)
            return
        files = system.logs()
        if service is not None:
            if service not in files:
                raise UnknownPartError(f"{service} has no log; there are: {', '.join(files) or 'none yet'}")
            files = {service: files[service]}
        if following:
            follow(files, lines)
        else:
            show_tail(files, lines)


def doctor(data_dir: DataDir = None) -> None:
    """Look for what keeps the pipeline from working, or could, and say what helps. Status 1 if so."""
    with readable_errors():
        findings = examine(current_system(data_dir))
        for finding in findings:
            out.print(finding.rendered())
        if any(finding.is_fault for finding in findings):
            raise typer.Exit(EXIT_FAILED)
