"""Whether a service lives, and whether it can do its work, with the reason when it cannot."""

from collections.abc import Callable, Mapping

Check = Callable[[], str | None]
"""Returns None when the dependency is usable, else one line that says why it is not."""

DRAINING = "draining: finishing what was begun, taking nothing new"


class Health:
    """The readiness of one service, as the sum of its dependencies.

    Checks are asked on every probe, so they must answer from what is already known and never wait.
    """

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self._draining = False

    def add(self, name: str, check: Check) -> None:
        """Makes readiness depend on ``check`` too."""
        self._checks[name] = check

    def drain(self) -> None:
        """From now on the service is not ready, whatever its dependencies say."""
        self._draining = True

    def report(self) -> Mapping[str, str | None]:
        """Each dependency with its reason for not being usable, or None."""
        service = {"service": DRAINING} if self._draining else {}
        return service | {name: check() for name, check in self._checks.items()}

    def failures(self) -> Mapping[str, str]:
        """The part of the report that keeps the service from its work; empty when it is ready."""
        return {name: reason for name, reason in self.report().items() if reason is not None}
