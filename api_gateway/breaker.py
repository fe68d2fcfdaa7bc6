"""Stops asking a broker that does not confirm, so that clients need not wait for it one by one."""

import time
from collections.abc import Callable


class Breaker:
    """Open after a failed publish; lets one try through per pause until one succeeds."""

    def __init__(
        self,
        *,
        known_down: Callable[[], bool],
        pause_seconds: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._known_down = known_down
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._reason: str | None = None
        self._next_try = 0.0

    def reason(self) -> str | None:
        """Why the last publish failed, or None where it was confirmed."""
        return self._reason

    def would_try(self) -> bool:
        """Whether :meth:`try_now` would allow a publish, without taking the turn."""
        return not self._known_down() and (self._reason is None or self._clock() >= self._next_try)

    def try_now(self) -> bool:
        """Whether to publish now. While open, allows one caller per pause."""
        if not self.would_try():
            return False
        if self._reason is not None:
            self._next_try = self._clock() + self._pause_seconds
        return True

    def failed(self, reason: str) -> None:
        """A publish got no confirm."""
        self._reason = reason
        self._next_try = self._clock() + self._pause_seconds

    def succeeded(self) -> None:
        """A publish was confirmed."""
        self._reason = None
