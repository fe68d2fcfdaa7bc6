"""Guessing at tokens and passwords, slowed per client."""

import time
from collections.abc import Callable
from typing import Final

from shared.http.problems import TOO_MANY_ATTEMPTS, Problem
from shared.http.sparing import SparingLog
from shared.logs import get_logger

MOST_CLIENTS: Final = 10_000

log = SparingLog(get_logger(__name__))


class FailedAttempts:
    """A client that failed ``limit`` times may try again once per ``seconds / limit``; bounded in memory."""

    def __init__(
        self, *, limit: int = 5, seconds: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._cost = seconds / limit
        self._clock = clock
        self._clear_at: dict[str, float] = {}

    def check(self, client: str) -> None:
        """Raises Problem with 429 where the client has to wait."""
        if self._clear_at.get(client, 0.0) - self._clock() > self._seconds - self._cost:
            raise Problem(
                TOO_MANY_ATTEMPTS, f"{self._seconds / self._cost:g} attempts failed. Try again later."
            )

    def failed(self, client: str, what: str) -> None:
        """Counts an attempt, and logs it sparingly as a wrong ``what``."""
        log.warning(f"wrong {what}", client=client)
        self.count(client)

    def count(self, client: str) -> None:
        """Counts an attempt that has failed."""
        now = self._clock()
        until = max(self._clear_at.pop(client, now), now) + self._cost
        if len(self._clear_at) >= MOST_CLIENTS:
            del self._clear_at[next(iter(self._clear_at))]
        self._clear_at[client] = until
