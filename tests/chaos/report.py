"""What a chaos run saw, for people and for machines."""

import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One fault and its effect; all times in seconds.

    ``answer_gap`` and ``decision_gap`` are the longest silences between two acknowledgements and between two
    decisions from the fault's beginning until the flow was back; ``recovery`` is from mended until then.
    """

    fault: str
    detail: str
    at: float
    broken: float
    answer_gap: float
    decision_gap: float
    recovery: float


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
    """A whole run."""

    seed: int
    orders: int = 0
    seconds: float = 0.0
    kills: int = 0
    extra_notifications: int = 0
    notifier_deaths: int = 0
    overload: Overload | None = None
    faults: dict[str, list[str]] = field(default_factory=dict)
    verdict: dict[str, Any] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Nothing lost, doubled, oversold or stuck, and no more repetitions than deaths of the notifier."""
        return not self.faults and self.extra_notifications <= self.notifier_deaths

    def write(self, folder: Path) -> Path:
        """Writes ``chaos-{seed}.json`` and ``.md``; returns the latter."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"chaos-{self.seed}.json").write_text(json.dumps(asdict(self), indent=2) + "\n")
        page = folder / f"chaos-{self.seed}.md"
        page.write_text(self.markdown())
        return page

    def markdown(self) -> str:
        """The report as a page."""
        verdict = "passed" if self.passed else f"FAILED: {self.faults}"
        lines = [
            f"# Chaos, seed {self.seed}: {verdict}",
            "",
            f"{self.orders} orders in {self.seconds:.0f} s, {len(self.seen)} faults, {self.kills} kills.",
            f"Letters beyond one per event at the mail server: {self.extra_notifications}.",
            f"Notifiers killed: {self.notifier_deaths}.",
            *([self.overload.line()] if self.overload else []),
            "",
            "| kind | times | median answer gap | worst | median decision gap | median recovery | worst |",
            "|---|---|---|---|---|---|---|",
            *(self._row(kind) for kind in sorted({each.fault for each in self.seen})),
            "",
            "| at | fault | detail | broken for | answer gap | decision gap | recovery |",
            "|---|---|---|---|---|---|---|",
            *(_line(each) for each in self.seen),
            "",
        ]
        return "\n".join(lines)

    def _row(self, kind: str) -> str:
        of_kind = [each for each in self.seen if each.fault == kind]
        answers = [each.answer_gap for each in of_kind]
        recoveries = [each.recovery for each in of_kind]
        decisions = statistics.median(each.decision_gap for each in of_kind)
        return (
            f"| {kind} | {len(of_kind)} | {statistics.median(answers):.2f} s | {max(answers):.2f} s "
            f"| {decisions:.2f} s | {statistics.median(recoveries):.2f} s | {max(recoveries):.2f} s |"
        )


def _line(seen: Seen) -> str:
    times = " | ".join(
        f"{seconds:.2f} s" for seconds in (seen.broken, seen.answer_gap, seen.decision_gap, seen.recovery)
    )
    return f"| {seen.at:.0f} s | {seen.fault} | {seen.detail} | {times} |"
