"""What is written to the terminal, and how an error looks there."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook
from rich.segment import Segment
from rich.text import Text

from orderctl.errors import ModeUnavailableError, OrderctlError, UnknownPartError, UsageError
from orderctl.hints import as_called
from orderctl.native.layout import tail
from shared.text import visible

if TYPE_CHECKING:
    from rich.table import Table

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (0, "s"))
WIDTH_IN_PIPES = 160
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class _Visible(RenderHook):
    """Escapes whatever would act on the terminal or hide, in everything that is printed."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Escaped(each) for each in renderables]


class _Escaped:
    def __init__(self, renderable: ConsoleRenderable) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for text, style, control in console.render(self._renderable, options):
            escaped = text if control else "\n".join(map(visible, text.split("\n")))
            yield Segment(escaped, style, control)


def _console(*, stderr: bool = False) -> Console:
    """Tables in a pipe are as wide as they need, up to a bound; they are not folded for a window."""
    seen = (sys.stderr if stderr else sys.stdout).isatty() or "COLUMNS" in os.environ
    width = None if seen else WIDTH_IN_PIPES
    console = Console(stderr=stderr, width=width, highlight=False, soft_wrap=True, markup=False, emoji=False)
    console.push_render_hook(_Visible())
    return console


out = _console()
err = _console(stderr=True)


def shown(value: object, style: str = "") -> Text:
    """One line of text: what it breaks lines with is escaped, and hints are as they are typed here."""
    return Text(visible(as_called(str(value))), style=style)


def say(text: object, style: str = "") -> None:
    """Print one line, whatever is in it."""
    out.print(shown(text, style))


def listing(*columns: str) -> "Table":
    """A table of one line per thing, as plain as can be."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def age(seconds: float | None) -> str:
    """How long ago something was, or in how long it will be."""
    if seconds is None:
        return "?"
    size, unit = next(each for each in _UNITS if abs(seconds) >= each[0])
    long = f"{abs(seconds) / max(1, size):.0f}{unit}"
    return f"in {long}" if seconds <= -1 else f"{long} ago"


@contextmanager
def progress_bar(what: str, *, quiet: bool, stays: bool = False) -> Iterator[Callable[..., None]]:
    """Show how far something is, where people look; what is yielded takes what `Progress.update` takes.

    `seen` is a remark beside the bar.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    described, seen = TextColumn("{task.description}"), TextColumn("{task.fields[seen]}")
    columns = (described, BarColumn(), MofNCompleteColumn(), seen, TimeElapsedColumn())
    hidden = quiet or not out.is_terminal
    with Progress(*columns, console=out, disable=hidden, transient=not stays) as progress:
        yield partial(progress.update, progress.add_task(what, total=None, seen=""))


def print_json(content: Any) -> None:
    """Write JSON for scripts, untouched by colour or width; beyond ASCII all is escaped."""
    sys.stdout.write(json.dumps(content, indent=2) + "\n")


@contextmanager
def readable_errors(*of_usage: type[OrderctlError]) -> Iterator[None]:
    """Turn our errors into what failed, the end of its log, and what to do next; then exit.

    With EXIT_USAGE for those that mean that nothing was tried, and for those ``of_usage``.
    """
    try:
        yield
    except OrderctlError as error:
        show_error(error)
        usage = isinstance(error, (UsageError, ModeUnavailableError, UnknownPartError, *of_usage))
        raise typer.Exit(EXIT_USAGE if usage else EXIT_FAILED) from error
    except ExceptionGroup as group:
        first = _first_of(group)
        if not isinstance(first, OrderctlError):
            raise first from group
        show_error(first)
        raise typer.Exit(EXIT_FAILED) from group
    except KeyboardInterrupt as error:
        hint = shown("; what was started keeps running: orderctl status, orderctl down")
        err.print(Text.assemble(("interrupted", "yellow"), hint))
        raise typer.Exit(EXIT_INTERRUPTED) from error


def _first_of(group: ExceptionGroup[Exception]) -> Exception:
    """Many clients at once meet the same fault: the operator reads it once."""
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, ExceptionGroup) else first


def show_error(error: OrderctlError) -> None:
    """Say what failed on stderr, in one line; the end of its log follows where it has one."""
    advice = f"; {error.advice}" if error.advice else ""
    said = str(error).removesuffix(".") if advice else str(error)
    if error.log is None or not error.log.exists():
        err.print(Text.assemble(("error: ", "bold red"), shown(f"{said}{advice}")))
        return
    err.print(Text.assemble(("error: ", "bold red"), shown(error)))
    err.print(shown(f"the end of {error.log}:", "dim"))
    for line in tail(error.log):
        err.print(shown(f"  {line}"))
    err.print(shown(f"next: {error.advice or 'orderctl doctor, or orderctl up to try again'}"))
