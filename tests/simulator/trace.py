"""What happened when: kept only where somebody wants to read it, and the same for the same seed."""

from collections.abc import MutableMapping
from typing import Any, NoReturn

import structlog

from tests.simulator.loop import SimulatedLoop
from tests.simulator.processes import current

WORLD = "world"


class Trace:
    """Lines of virtual time, who, and what. ``schedule`` has the faults alone, and is always kept."""

    def __init__(self, loop: SimulatedLoop, *, is_kept: bool) -> None:
        self._loop = loop
        self.is_kept = is_kept
        self.lines: list[str] = []
        self.schedule: list[str] = []

    def note(self, what: str) -> None:
        """Something happened, in the process at hand."""
        if self.is_kept:
            process = current()
            self.lines.append(self._line(process.name if process else WORLD, what))

    def fault(self, what: str) -> None:
        """A fault was injected, or ends."""
        line = self._line("FAULT", what)
        self.schedule.append(line)
        if self.is_kept:
            self.lines.append(line)

    def take_log_line(self, _: object, level: str, event: MutableMapping[str, Any]) -> NoReturn:
        """The last processor of the log: the line ends here."""
        text = event.pop("event", "")
        fields = " ".join(f"{name}={value}" for name, value in sorted(event.items()) if name != "exc_info")
        self.note(f"log {level}: {text} {fields}")
        raise structlog.DropEvent

    def _line(self, who: str, what: str) -> str:
        return f"{self._loop.time():9.4f}  {who:<14} {what}"
