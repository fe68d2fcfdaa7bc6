"""Entries of logs, for people and for programs."""

import json
import sys
from collections.abc import Iterator
from datetime import UTC, date
from typing import Final

from rich.text import Text

from orderctl.log_lines import Level, LoggedEvent
from orderctl.system import PARTS
from orderctl.terminal import out, shown

LONGEST_VALUE: Final = 60
_LEVELS: Final = {
    Level.DEBUG: "dim",
    Level.INFO: "",
    Level.WARNING: "yellow",
    Level.ERROR: "red",
    Level.CRITICAL: "bold red",
}
_PARTS: Final = ("cyan", "magenta", "green", "blue")
_ELSEWHERE: Final = ("order_id", "correlation_id", "exception")
"""Fields that have a place of their own, and the one that only programs go by."""


class LogView:
    """Prints entries one under the other; for people each day has a heading, and a line the time alone."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._day: date | None = None

    def show(self, entry: LoggedEvent) -> None:
        """Print one entry, at once."""
        if self._as_json:
            sys.stdout.write(json.dumps(entry.as_json()) + "\n")
            sys.stdout.flush()
            return
        at = entry.at.astimezone(UTC)
        if at.date() != self._day:
            self._day = at.date()
            out.print(Text(f"{self._day}, times in UTC", style="dim"))
        for line in _lines(entry, f"{at:%H:%M:%S}.{at.microsecond // 1000:03}"):
            out.print(line)


def _lines(entry: LoggedEvent, clock: str) -> Iterator[Text]:
    order_id = entry.fields.get("order_id")
    line = Text.assemble(
        (f"{clock} ", "dim"),
        (f"{entry.level:<8} ", _LEVELS[entry.level]),
        shown(f"{entry.service:<15} ", _colour(entry.service)),
        shown(f"{order_id}  " if order_id else "", "bold"),
        shown(entry.event, _LEVELS[entry.level]),
    )
    for name, value in entry.fields.items():
        if name not in _ELSEWHERE and value is not None:
            line.append_text(shown(f"  {name}={_short(value)}", "dim"))
    yield line
    exception = str(entry.fields.get("exception") or "").splitlines()
    for below in (*exception, *entry.below):
        yield shown(f"    {below.expandtabs(4)}", "dim")


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def _colour(part: str) -> str:
    return _PARTS[PARTS.index(part) % len(_PARTS)] if part in PARTS else "dim"
