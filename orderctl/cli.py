"""`orderctl`: what is called by which words, and how the process ends."""

import os
import sys
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from orderctl.commands.completion import COMPLETING
from orderctl.commands.table import COMMANDS, GROUPS
from orderctl.hints import as_called
from shared.text import visible

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
AFTERWORD: Final = (
    "Each command has --help of its own. Status 0: done, and nothing is wrong; 1: it failed, or what was "
    "looked at is not well; 2: it cannot be asked for like that, and nothing was tried; 130: interrupted."
)


class _OnDemand(TyperGroup):
    """Knows what its commands do from the table alone, and imports the one that is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: TyperCommand(name, help=does) for name, (_, does) in COMMANDS.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and _imported(command.name or ""), rest

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        width = max(map(len, COMMANDS))
        for title, group in GROUPS.items():
            with formatter.section(typer.style(title, bold=True)):
                formatter.write_dl([(name.ljust(width), does) for name, (_, does) in group.commands.items()])
                for example in group.examples:
                    formatter.write(typer.style(f"{'':>4}$ {as_called(example)}\n", dim=True))
        formatter.write_paragraph()
        formatter.write_text(AFTERWORD)


def _imported(name: str) -> Any:
    module, _, attribute = COMMANDS[name][0].partition(".")
    found = getattr(import_module(f"orderctl.commands.{module}"), attribute)
    if not isinstance(found, typer.Typer):
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        alone.command(name, context_settings=getattr(found, "context_settings", None))(found)
        found = alone
    command = get_command(found)
    command.name = name
    return command


app = typer.Typer(
    cls=_OnDemand,
    name="orderctl",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"orderctl {version('order-pipeline')}")
        raise typer.Exit


@app.callback()
def orderctl(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say which this is.")
    ] = False,
) -> None:
    """Run the order pipeline on this machine, break parts of it, and look inside."""


def main() -> None:
    """The entry point that `pip` installs. What terminal or system refuse is one line, and a failure."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # text streams of this process
    strange = [word for word in sys.argv[1:] if not word.isascii() and not _is_text(word)]
    if strange:
        _say(f"the argument {strange[0]} is no text in UTF-8")
        sys.exit(EXIT_USAGE)
    if COMPLETING in os.environ:
        from typer.completion import get_completion_inspect_parameters

        get_completion_inspect_parameters()  # makes the shells known
    status: str | int | None = EXIT_FAILED
    try:
        app()
    except SystemExit as ended:
        status = ended.code
    except (OSError, UnicodeError) as error:
        _say(_in_words(error))
    sys.exit(status if _flushed() else EXIT_FAILED)


def _is_text(word: str) -> bool:
    return not any("\ud800" <= each <= "\udfff" for each in word)


def _in_words(error: OSError | UnicodeError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _flushed() -> bool:
    """Whether all output has left; what could not is thrown away, so that it does not fail once more."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        pass
    except OSError as error:
        _say(f"the output cannot be written: {error.strerror}")
    else:
        return True
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return False


def _say(text: str) -> None:
    sys.stderr.write(f"error: {visible(text)}\n")
