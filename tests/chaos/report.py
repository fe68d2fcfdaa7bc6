"""What a chaos run saw, for people and for machines."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from notifier.domain import MOST_UNMARKED

FEW: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One fault and its effect; all times in seconds.

    ``answer_gap`` and ``decision_gap`` are the longest silences between two acknowledgements and between two
    decisions from the fault's beginning until the flow was back; ``recovery`` is from mended until then.
    ``undecided`` is how many orders waited for their decision meanwhile, at the most.
    """

    fault: str
    detail: str
    at: float
    broken: float
    answer_gap: float
    decision_gap: float
    recovery: float
    undecided: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Overload:
    """Far more requests at once than the gateway takes; times in seconds, memory in bytes."""

    requests: int
    refused: int
    refused_median: float
    refused_worst: float
    rss_before: int
    rss_after: int

    def line(self) -> str:
        """As a sentence."""
        return (
            f"Overload: {self.requests} requests at once, {self.refused} turned away in a median of "
            f"{self.refused_median:.2f} s, at worst {self.refused_worst:.2f} s; the gateway's memory went "
            f"from {self.rss_before / 2**20:.0f} to {self.rss_after / 2**20:.0f} MiB."
        )


@dataclass(slots=True, kw_only=True)
class Report:
    """A stage: ``orders`` were placed, of which ``removed`` had been swept when the others were judged.

    ``shop`` says what happened around them.
    """

    seed: str
    channel: str
    orders: int = 0
    removed: int = 0
    seconds: float = 0.0
    kills: int = 0
    extra_notifications: int = 0
    notifier_deaths: int = 0
    overload: Overload | None = None
    shop: str = ""
    faults: dict[str, list[str]] = field(default_factory=dict)
    verdict: dict[str, int] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> "Report":
        """From what was written down."""
        overload = kept["overload"] and Overload(**kept["overload"])
        return cls(**{**kept, "overload": overload, "seen": [Seen(**each) for each in kept["seen"]]})

    @property
    def passed(self) -> bool:
        """Nothing lost, doubled, oversold or stuck, and no more repetitions than deaths explain."""
        explained = self.notifier_deaths * MOST_UNMARKED[self.channel]
        return not self.faults and self.extra_notifications <= explained

    @property
    def outcome(self) -> str:
        """In a word, and what was found; the first few orders of each kind."""
        found = [f"{kind} ({len(orders)}): {', '.join(orders[:FEW])}" for kind, orders in self.faults.items()]
        return "passed" if self.passed else f"FAILED: {'; '.join(found) or 'told too often'}"


_OF_KIND = (
    "median answer gap",
    "worst",
    "median decision gap",
    "median recovery",
    "worst",
    "most undecided",
)
_OF_FAULT = ("broken for", "answer gap", "decision gap", "recovery", "most undecided")


def markdown(seed: int, stages: Sequence[Report], left: int) -> str:
    """All stages that are done as one page; so many are left."""
    seen = [each for stage in stages for each in stage.seen]
    failed = [f"{stage.seed} {stage.outcome}" for stage in stages if not stage.passed]
    verdict: Counter[str] = Counter()
    channels = sorted({stage.channel for stage in stages})
    for stage in stages:
        verdict.update(stage.verdict)
    orders, seconds = sum(stage.orders for stage in stages), sum(stage.seconds for stage in stages)
    kills, letters = (
        sum(stage.kills for stage in stages),
        sum(stage.extra_notifications for stage in stages),
    )
    lines = [
        f"# Chaos, seed {seed}: {'; '.join(failed) or 'passed'}{f', {left} stages to come' if left else ''}",
        "",
        f"{orders:,} orders in {seconds:,.0f} s, {len(seen)} faults, {kills} kills.",
        f"{', '.join(f'{count:,} {what}' for what, count in verdict.items())}.",
        f"Told more than once, at the customers' end ({' and '.join(channels)}): {letters}.",
        f"Notifiers killed: {sum(stage.notifier_deaths for stage in stages)}.",
        *(stage.overload.line() for stage in stages if stage.overload),
        *(stage.shop for stage in stages if stage.shop),
        "",
        *(_stages(stages) if len(stages) > 1 else ()),
        f"| kind | times | {' | '.join(_OF_KIND)} |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(kind, seen) for kind in sorted({each.fault for each in seen})),
        "",
        f"| stage | at | fault | detail | {' | '.join(_OF_FAULT)} |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_line(stage.seed, each) for stage in stages for each in stage.seen),
        "",
    ]
    return "\n".join(lines)


def _stages(stages: Sequence[Report]) -> Sequence[str]:
    return [
        "| stage | orders | swept meanwhile | faults | kills | took | verdict |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {stage.seed} | {stage.orders:,} | {stage.removed:,} | {len(stage.seen)} | {stage.kills} "
            f"| {stage.seconds:.0f} s | {stage.outcome} |"
            for stage in stages
        ),
        "",
    ]


def _row(kind: str, seen: Sequence[Seen]) -> str:
    of_kind = [each for each in seen if each.fault == kind]
    answers = [each.answer_gap for each in of_kind]
    recoveries = [each.recovery for each in of_kind]
    decisions = statistics.median(each.decision_gap for each in of_kind)
    return (
        f"| {kind} | {len(of_kind)} | {statistics.median(answers):.2f} s | {max(answers):.2f} s "
        f"| {decisions:.2f} s | {statistics.median(recoveries):.2f} s | {max(recoveries):.2f} s "
        f"| {max(each.undecided for each in of_kind):,} |"
    )


def _line(stage: str, seen: Seen) -> str:
    times = " | ".join(
        f"{seconds:.2f} s" for seconds in (seen.broken, seen.answer_gap, seen.decision_gap, seen.recovery)
    )
    return f"| {stage} | {seen.at:.0f} s | {seen.fault} | {seen.detail} | {times} | {seen.undecided:,} |"
