"""What happens while the demonstration runs, and what can be read off it. Times in seconds since it began."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look at the store: orders decided and customers told since the beginning, orders that wait."""

    at: float
    decided: int
    told: int
    waiting: int
    outbox: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Something that was done or noticed."""

    at: float
    text: str


@dataclass(slots=True, kw_only=True)
class Chronicle:
    """Everything seen so far. ``killed_at`` and ``started_at`` are the broker's end and its way back."""

    acknowledged: list[float] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    nodes: dict[str, bool] = field(default_factory=dict)
    leader: str = ""
    killed_at: float | None = None
    started_at: float | None = None
    back_at: float | None = None
    load_ended_at: float | None = None
    settled_at: float | None = None

    @property
    def latest(self) -> Sample:
        """The last look at the store."""
        return self.samples[-1] if self.samples else Sample(at=0.0, decided=0, told=0, waiting=0, outbox=0)

    @property
    def most_in_outbox(self) -> int:
        """How many orders were stored for a broker to come back, at the most."""
        return max((sample.outbox for sample in self.samples), default=0)

    def acknowledged_gap(self) -> float:
        """The longest silence between two 202s from the kill on."""
        if self.killed_at is None:
            return 0.0
        before = [at for at in self.acknowledged if at <= self.killed_at][-1:]
        return longest_gap([*before, *(at for at in self.acknowledged if at > self.killed_at)])

    def decided_gap(self) -> float:
        """The longest time without a decision from the kill to the end of the load, as sampled."""
        if self.killed_at is None:
            return 0.0
        until = self.load_ended_at or self.latest.at
        progress = [after.at for before, after in pairwise(self.samples) if after.decided > before.decided]
        before = [at for at in progress if at <= self.killed_at][-1:]
        return longest_gap([*before, *(at for at in progress if self.killed_at < at <= until)])

    def acknowledged_per_bucket(self, seconds: float, buckets: int, now: float) -> list[int]:
        """202s in each stretch of so many seconds, up to ``buckets`` of them, the last one ending now."""
        counted = [(at, number) for number, at in enumerate(self.acknowledged, 1)]
        return _flow(counted, seconds, buckets, now)

    def decided_per_bucket(self, seconds: float, buckets: int, now: float) -> list[int]:
        """Decisions in the same stretches."""
        return _flow([(sample.at, sample.decided) for sample in self.samples], seconds, buckets, now)

    def outbox_per_bucket(self, seconds: float, buckets: int, now: float) -> list[int]:
        """The size of the outbox at the end of the same stretches."""
        return levels_of([(sample.at, sample.outbox) for sample in self.samples], seconds, now)[-buckets:]


def longest_gap(times: Sequence[float]) -> float:
    """The longest time between one event and the next; 0.0 where there are not two."""
    return max((later - earlier for earlier, later in pairwise(times)), default=0.0)


def levels_of(points: Sequence[tuple[float, int]], seconds: float, now: float) -> list[int]:
    """The last known value at the end of each whole stretch of so many seconds since the beginning."""
    levels: list[int] = []
    known, position = 0, 0
    for bucket in range(1, int(now / seconds) + 1):
        while position < len(points) and points[position][0] <= bucket * seconds:
            known = points[position][1]
            position += 1
        levels.append(known)
    return levels


def _flow(points: Sequence[tuple[float, int]], seconds: float, buckets: int, now: float) -> list[int]:
    levels = levels_of(points, seconds, now)
    return [after - before for before, after in pairwise([0, *levels])][-buckets:]
