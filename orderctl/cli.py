"""`orderctl`: the table of commands. A command's module is imported when it is called: each starts fast."""

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command

from shared.text import visible

COMMANDS: Final[Mapping[str, str]] = {
    "up": "lifecycle.up",
    "down": "lifecycle.down",
    "status": "views.status",
    "logs": "views.logs",
    "doctor": "views.doctor",
    "kill": "parts.kill",
    "stop": "parts.stop",
    "start": "parts.start",
    "inventory": "inventory.app",
    "user": "users.app",
    "keys": "users.keys",
    "product": "products.app",
    "order": "orders.app",
    "dead": "dead.app",
    "events": "events.events",
    "ledger": "ledger.app",
    "redis": "redis.redis",
    "sample": "sample.sample",
    "load": "load.load",
    "verify": "verify.verify",
    "demo": "demo.demo",
    "failpoints": "failpoints.failpoints",
}
"""Each with the module in `orderctl.commands` and the function, or the group of commands, in it."""
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2


class _OnDemand(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(".")
        found = getattr(import_module(f"orderctl.commands.{module}"), attribute)
        if not isinstance(found, typer.Typer):
            alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            alone.command(cmd_name, context_settings=getattr(found, "context_settings", None))(found)
            found = alone
        command = get_command(found)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=_OnDemand,
    name="orderctl",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def orderctl() -> None:
    """Run the order pipeline on this machine, break parts of it, and look inside."""


def main() -> None:
    """The entry point that `pip` installs. What terminal or system refuse is one line, and a failure."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # text streams of this process
    strange = [word for word in sys.argv[1:] if not word.isascii() and not _is_text(word)]
    if strange:
        _say(f"the argument {strange[0]} is no text in UTF-8")
        sys.exit(EXIT_USAGE)
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
