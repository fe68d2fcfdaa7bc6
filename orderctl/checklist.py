"""The checklist that long commands show: one line per part, what it is doing, and for how long."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from orderctl.progress import Step, StepState

_MARKS = {StepState.DONE: ("✓", "green"), StepState.FAILED: ("✗", "red"), StepState.WAITING: ("·", "dim")}


@dataclass(slots=True)
class _Line:
    step: Step
    began: float
    ended: float | None = None

    def elapsed_seconds(self, now: float) -> float:
        return (self.ended if self.ended is not None else now) - self.began


class Checklist:
    """Collects steps; shows them live on a terminal, and as plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines: dict[str, _Line] = {}
        self._live: Live | None = None
        self._spinner = Spinner("dots")

    def __call__(self, step: Step) -> None:
        """Take in one step; this is the `Progress` that commands hand on."""
        if step.state is StepState.NOTE:
            self._console.print(Text.assemble(("! ", "yellow"), step.detail))
            return
        now = time.monotonic()
        changed = step.name not in self._lines or self._lines[step.name].step != step
        line = self._lines.setdefault(step.name, _Line(step=step, began=now))
        line.step = step
        line.ended = now if step.state in (StepState.DONE, StepState.FAILED) else None
        if changed and self._live is None:
            self._console.print(Text(self._plain(line, now)))

    @contextmanager
    def shown(self) -> Iterator["Checklist"]:
        """Show the list for as long as the block runs, and leave it on the screen."""
        if not self._console.is_terminal:
            yield self
            return
        with Live(get_renderable=self._table, console=self._console, refresh_per_second=8) as live:
            self._live = live
            try:
                yield self
            finally:
                live.refresh()
                self._live = None

    def _table(self) -> Table:
        now = time.monotonic()
        table = Table.grid(padding=(0, 1))
        for line in self._lines.values():
            mark = _MARKS.get(line.step.state)
            table.add_row(
                Text(*mark) if mark else self._spinner,
                line.step.name,
                Text(f"{line.elapsed_seconds(now):5.1f} s", style="dim"),
                Text(line.step.detail, style="dim", overflow="ellipsis", no_wrap=True),
            )
        return table

    def _plain(self, line: _Line, now: float) -> str:
        head = f"{line.step.state:>8}  {line.step.name:<16}"
        return f"{head}{line.elapsed_seconds(now):5.1f} s  {line.step.detail}"
