"""How fast orders are decided and customers told, and how that went in the last minutes."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from dashboard.overview.ports import StoreReader
from shared.messaging.waiting import repeating

PAUSE_SECONDS: Final = 2.0
SAMPLES: Final = 61
"""Two minutes."""
_LATEST: Final = 5
"""So many samples make the rate of now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A rate per second as of now, None where it is not known yet, and those of before, oldest first."""

    now: float | None
    before: Sequence[float]

    @property
    def points(self) -> str:
        """A line through them in a box of 100 by 20, as SVG has it."""
        highest = max(self.before, default=0.0) or 1.0
        step = 100 / (SAMPLES - 2)
        first = SAMPLES - 1 - len(self.before)
        places = ((first + place) * step for place in range(len(self.before)))
        heights = (19 - 18 * rate / highest for rate in self.before)
        return " ".join(f"{at:.1f},{height:.1f}" for at, height in zip(places, heights, strict=True))


class Pace:
    """Counts again and again."""

    def __init__(self, store: StoreReader, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._monotonic = monotonic
        self._counts: deque[tuple[float, int, int]] = deque(maxlen=SAMPLES)

    async def run(self) -> None:
        """Counts until cancelled; while the store is away there is nothing to count."""
        await repeating(self.count, PAUSE_SECONDS, what="counting orders")

    async def count(self) -> None:
        """Counts once."""
        decided, told = await self._store.counts()
        self._counts.append((self._monotonic(), decided, told))

    @property
    def decided(self) -> Course:
        """Orders decided."""
        return self._course([(at, decided) for at, decided, _ in self._counts])

    @property
    def told(self) -> Course:
        """Customers told."""
        return self._course([(at, told) for at, _, told in self._counts])

    def _course(self, counts: Sequence[tuple[float, int]]) -> Course:
        latest = counts[-_LATEST:]
        return Course(
            now=_rate(latest[0], latest[-1]) if len(latest) > 1 else None,
            before=[_rate(*pair) for pair in pairwise(counts)],
        )


def _rate(one: tuple[float, int], other: tuple[float, int]) -> float:
    """Per second. A count that fell was set back by hand or by a restore."""
    seconds = other[0] - one[0]
    return max(other[1] - one[1], 0) / seconds if seconds > 0 else 0.0
