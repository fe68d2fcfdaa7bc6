"""Whether a service lives, and whether it can do its work, with the reason when it cannot."""

import asyncio
from collections.abc import Callable, Mapping

Check = Callable[[], str | None]
"""Returns None when the dependency is usable, else one line that says why it is not."""

PROCESS_HEADER = "X-Process-Id"
"""Names the process behind an answer: the port of a service that died may be another's by now."""

DRAINING = "draining: finishing what was begun, taking nothing new"


class Health:
    """The readiness of one service, as the sum of its dependencies.

    Checks are asked on every probe, so they must answer from what is already known and never wait.
    """

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self._notes: dict[str, Callable[[], str]] = {}
        self._stop: asyncio.Event | None = None

    def add(self, name: str, check: Check) -> None:
        """Makes readiness depend on ``check`` too."""
        self._checks[name] = check

    def add_note(self, name: str, note: Callable[[], str]) -> None:
        """Shows what ``note`` says in the verbose report; readiness does not depend on it."""
        self._notes[name] = note

    def notes(self) -> Mapping[str, str]:
        """What an operator should know although the service can work."""
        return {name: note() for name, note in self._notes.items()}

    def drain_on(self, stop: asyncio.Event) -> None:
        """Once ``stop`` is set the service is not ready, whatever its dependencies say."""
        self._stop = stop

    def report(self) -> Mapping[str, str | None]:
        """Each dependency with its reason for not being usable, or None."""
        service = {"service": DRAINING} if self._stop is not None and self._stop.is_set() else {}
        return service | {name: check() for name, check in self._checks.items()}

    def failures(self) -> Mapping[str, str]:
        """The part of the report that keeps the service from its work; empty when it is ready."""
        return {name: reason for name, reason in self.report().items() if reason is not None}
