"""Log lines that a client can cause as often as it likes, kept few."""

import time
from collections.abc import Callable
from typing import Final

from structlog.stdlib import BoundLogger

PAUSE_SECONDS: Final = 10.0


class SparingLog:
    """Writes the first of many like lines, and then one in ten seconds with the count of those left out."""

    def __init__(self, log: BoundLogger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._written: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def warning(self, event: str, **fields: object) -> None:
        """Events are few and fixed: what clients send belongs into ``fields``."""
        now = self._clock()
        if now - self._written.get(event, -PAUSE_SECONDS) < PAUSE_SECONDS:
            self._left_out[event] = self._left_out.get(event, 0) + 1
            return
        self._written[event] = now
        self._log.warning(event, **fields, left_out=self._left_out.pop(event, 0))
