"""What is written to the terminal, and how an error looks there."""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from orderctl.errors import ModeUnavailableError, OrderctlError, UnknownPartError
from orderctl.native.layout import tail

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(content: Any) -> None:
    """Write JSON for scripts, untouched by colour or width."""
    sys.stdout.write(json.dumps(content, indent=2) + "\n")


def command_name() -> str:
    """How the operator calls this command, so that hints can be pasted."""
    if shutil.which("orderctl"):
        return "orderctl"
    called = Path(sys.argv[0])
    if called.name != "orderctl":
        return "python -m orderctl"
    return str(called.relative_to(Path.cwd()) if called.is_relative_to(Path.cwd()) else called)


@contextmanager
def readable_errors() -> Iterator[None]:
    """Turn our errors into what failed, the end of its log, and what to do next; then exit."""
    try:
        yield
    except OrderctlError as error:
        show_error(error)
        usage = isinstance(error, ModeUnavailableError | UnknownPartError)
        raise typer.Exit(EXIT_USAGE if usage else EXIT_FAILED) from error
    except KeyboardInterrupt as error:
        err.print("[yellow]interrupted[/]; what was started keeps running: orderctl status, orderctl down")
        raise typer.Exit(EXIT_INTERRUPTED) from error


def show_error(error: OrderctlError) -> None:
    """Say what failed on stderr."""
    err.print(Text.assemble(("error: ", "bold red"), str(error)))
    if error.log is not None and error.log.exists():
        err.print(Text(f"the end of {error.log}:", style="dim"))
        for line in tail(error.log):
            err.print(Text(f"  {line}"))
    if error.advice:
        err.print(Text(f"next: {error.advice}"))
    elif error.log is not None:
        err.print(Text(f"next: {command_name()} doctor, or {command_name()} up to try again"))
