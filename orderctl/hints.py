"""How the operator calls this command, so that what is advised can be pasted."""

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

_GROUPS = "dead|inventory|keys|ledger|new|order|product|user"
_OPTION = r" --[a-z-]+(?: \w+(?:[.:~-]+\w+)*)?"
_ADVISED = re.compile(rf"(?<![\w./-])orderctl ((?:(?:{_GROUPS}) )?[a-z]+(?:{_OPTION})*)")
_ASK_A_GATEWAY = frozenset({"inventory", "load", "order", "product"})
_options: list[str] = []
_url: list[str] = []


def repeat_option(*words: str) -> None:
    """Hints name this option from now on: without it they would speak to another system."""
    _options[:] = words


def repeat_url(*words: str) -> None:
    """Hints at commands that ask a gateway name this option from now on."""
    _url[:] = words


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

    def typed(advised: re.Match[str]) -> str:
        url = _url if advised[1].split()[0] in _ASK_A_GATEWAY else ()
        return " ".join(filter(None, (command_name(), advised[1], shlex.join((*_options, *url)))))

    return _ADVISED.sub(typed, text)


def _short(path: Path) -> str:
    here = Path(os.path.normpath(path if path.is_absolute() else Path.cwd() / path))
    return str(here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else here)
