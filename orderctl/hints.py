"""How the operator calls this command, so that what is advised can be pasted."""

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

_GROUPS = "dead|inventory|keys|order|product|user"
_ADVISED = re.compile(rf"(?<![\w./-])orderctl ((?:(?:{_GROUPS}) )?[a-z]+(?: --[a-z-]+(?: \w+)?)*)")
_options: list[str] = []


def repeat_option(*words: str) -> None:
    """Hints name this option from now on: without it they would speak to another system."""
    _options[:] = words


def command_name() -> str:
    """The command as it was typed, whether it is on PATH, in `.venv/bin` or a module of an interpreter."""
    called = Path(sys.argv[0])
    if called.name != "orderctl":
        return f"{shlex.quote(_short(Path(sys.executable)))} -m orderctl"
    found = shutil.which("orderctl")
    on_path = found is not None and Path(found).absolute() == called.absolute()
    return "orderctl" if on_path else shlex.quote(_short(called))


def as_called(text: str) -> str:
    """The text with each `orderctl …` in it as this operator would have to type it."""
    options = f" {shlex.join(_options)}" if _options else ""
    return _ADVISED.sub(lambda advised: f"{command_name()} {advised[1]}{options}", text)


def _short(path: Path) -> str:
    here = Path(os.path.normpath(path if path.is_absolute() else Path.cwd() / path))
    return str(here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else here)
