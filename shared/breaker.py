"""Stops asking a dependency that does not answer, so that clients need not wait for it one by one."""

import time
from collections.abc import Callable


class Breaker:
    """Open after more failures in a row than it ``tolerates``; then lets one try through per pause.

    One that succeeds closes it. ``known_down`` tells where asking is in vain anyway.
    """

    def __init__(
        self,
        *,
        known_down: Callable[[], bool] = lambda: False,
        tolerates: int = 0,
        pause_seconds: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._known_down = known_down
        self._tolerates = tolerates
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._failures = 0
        self._reason: str | None = None
        self._next_try = 0.0

    def reason(self) -> str | None:
        """Why the last try failed, or None where it succeeded, or too few failed yet."""
        return self._reason

    def would_try(self) -> bool:
        """Whether :meth:`try_now` would allow a try, without taking the turn."""
        return not self._known_down() and (self._reason is None or self._clock() >= self._next_try)

    def try_now(self) -> bool:
        """Whether to try now. While open, allows one caller per pause."""
        if not self.would_try():
            return False
        if self._reason is not None:
            self._next_try = self._clock() + self._pause_seconds
        return True

    def failed(self, reason: str) -> None:
        """A try got no answer that counts, such as a broker's confirm."""
        self._failures += 1
        if self._failures > self._tolerates:
            self._reason = reason
            self._next_try = self._clock() + self._pause_seconds

    def succeeded(self) -> None:
        """A try got its answer."""
        self._failures = 0
        self._reason = None
