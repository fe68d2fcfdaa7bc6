"""A run as a plan of stages, and the file of those that are done, so that a long one can be resumed.

Each stage has a cluster of its own, a share of the orders and of the schedule, and a verdict.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from tests.chaos.faults import drawn
from tests.chaos.report import Report, markdown

STAGE_ORDERS: Final = 100_000
STAGE_RETENTION_SECONDS: Final = 240.0
"""Longer than a client asks again for one order, and shorter than a stage, so that the sweep runs in it."""
RETENTION_SECONDS: Final = 30 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What one stage has to do. ``orders`` is the least number of them; ``faults`` are names."""

    seed: str
    faults: Sequence[str]
    rate: float
    orders: int
    retention_seconds: float
    channel: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the command line asked for. Without ``orders``, as many are placed as the faults take time.

    ``channel`` is how customers are told: ``smtp``, or ``log`` where letters would be the bottleneck.
    """

    seed: int
    faults: int
    rate: float
    orders: int = 0
    channel: str = "smtp"

    @property
    def stages(self) -> Sequence[Stage]:
        """Equal shares, one after the other."""
        count = max(1, -(-self.orders // STAGE_ORDERS))
        schedule = drawn(self.faults, random.Random(self.seed))
        return [
            Stage(
                seed=f"{self.seed}-{number + 1}",
                faults=schedule[self.faults * number // count : self.faults * (number + 1) // count],
                rate=self.rate,
                orders=self.orders * (number + 1) // count - self.orders * number // count,
                retention_seconds=STAGE_RETENTION_SECONDS if self.orders else RETENTION_SECONDS,
                channel=self.channel,
            )
            for number in range(count)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A plan, and the reports of the stages that are done; kept as ``chaos-{seed}.json``."""

    plan: Plan
    done: list[Report] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> "Record":
        """What `write` wrote."""
        kept = json.loads(path.read_text(encoding="utf-8"))
        return cls(plan=Plan(**kept["plan"]), done=[Report.of(report) for report in kept["done"]])

    @property
    def left(self) -> Sequence[Stage]:
        """The stages that are not done."""
        return self.plan.stages[len(self.done) :]

    @property
    def passed(self) -> bool:
        """Every stage is done, and none has found anything."""
        return not self.left and all(report.passed for report in self.done)

    def markdown(self) -> str:
        """The report as a page."""
        return markdown(self.plan.seed, self.done, left=len(self.left))

    def write(self, folder: Path) -> Path:
        """Writes ``chaos-{seed}.json``, the whole of it or nothing, and ``.md``; returns the latter."""
        folder.mkdir(parents=True, exist_ok=True)
        new, page = folder / f"chaos-{self.plan.seed}.new", folder / f"chaos-{self.plan.seed}.md"
        new.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        new.replace(page.with_suffix(".json"))
        page.write_text(self.markdown(), encoding="utf-8")
        return page
