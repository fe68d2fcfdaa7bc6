"""From numbers to ratios: the table against its targets, JSON, Markdown and plots."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks import plots

CEILING: Final = "bare two-hop AMQP"
OWN_CEILING: Final = "bare two-hop AMQP, publishing as we do"
OURS: Final = "ours"


@dataclass(slots=True)
class Results:
    """Everything that was measured in one run."""

    quick: bool
    seconds: float = 0.0
    rounds: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    latency: list[dict[str, Any]] = field(default_factory=list)
    growth: dict[str, Any] = field(default_factory=dict)
    recovery: dict[str, Any] = field(default_factory=dict)

    def values(self, name: str, what: str) -> list[float]:
        """One number of one contestant, by round."""
        return [numbers[what] for numbers in self.rounds.get(name, []) if what in numbers]

    def median(self, name: str, what: str) -> float:
        """0.0 where there is none."""
        values = self.values(name, what)
        return statistics.median(values) if values else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """One line of the table: values by round against a target."""

    what: str
    values: Sequence[float]
    target: float | None
    at_least: bool

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def is_met(self) -> bool:
        if self.target is None:
            return True
        return self.median >= self.target if self.at_least else self.median <= self.target

    def line(self) -> str:
        """As a row of a Markdown table."""
        spread = f"{min(self.values):.2f} – {max(self.values):.2f}"
        verdict = "| |"
        if self.target is not None:
            sign, met = "≥" if self.at_least else "≤", "met" if self.is_met else "**missed**"
            verdict = f"{sign} {self.target:g} | {met} |"
        return f"| {self.what} | {self.median:.2f} | {spread} | {verdict}"


def ratios(results: Results) -> list[Ratio]:
    """Every ratio that this run can tell, round by round where rounds are interleaved."""
    of_rounds: list[tuple[str, str, str, float | None, bool]] = [
        ("end-to-end orders/s ÷ bare two-hop AMQP", CEILING, "per_second", 0.6, True),
        ("the same, where that publishes as we do", OWN_CEILING, "per_second", None, True),
        ("end-to-end orders/s ÷ FastStream", "FastStream", "per_second", 1.5, True),
        ("end-to-end orders/s ÷ ours with batches of one", "ours, batches of one", "per_second", 1.5, True),
        ("Python CPU per order ÷ bare two-hop clients'", CEILING, "python_cpu_us", 2.0, False),
        ("the same, where those publish as we do", OWN_CEILING, "python_cpu_us", None, False),
    ]
    found = [
        Ratio(what=what, values=_by_round(results, other, key), target=target, at_least=at_least)
        for what, other, key, target, at_least in of_rounds
    ]
    found.append(
        Ratio(
            what="POST→202 p99 at half load ÷ one confirmed publish p99",
            values=[run["accept_ms"]["p99"] / run["confirm_ms"]["p99"] for run in results.latency],
            target=2.0,
            at_least=False,
        )
    )
    return [ratio for ratio in [*found, *_of_growth(results.growth)] if ratio.values]


def _by_round(results: Results, other: str, key: str) -> list[float]:
    pairs = zip(results.values(OURS, key), results.values(other, key), strict=False)
    return [mine / theirs for mine, theirs in pairs]


def _of_growth(growth: dict[str, Any]) -> list[Ratio]:
    found = []
    backlog = growth.get("backlog", {})
    if "100000" in backlog:
        large, small = backlog["100000"], backlog["1000"]
        rate = large["per_second"] / small["per_second"]
        found.append(
            Ratio(what="drain rate, 100,000 ÷ 1,000 waiting", values=[rate], target=0.9, at_least=True)
        )
        memory = max(large[name] / small[name] for name in small if name.startswith("rss"))
        found.append(
            Ratio(what="RSS after 100,000 ÷ after 1,000 orders", values=[memory], target=1.2, at_least=False)
        )
    if past := growth.get("past_orders"):
        rate = past["1000000"]["per_second"] / past["few"]["per_second"]
        what = "rate with 1,000,000 past orders ÷ with few"
        found.append(Ratio(what=what, values=[rate], target=0.9, at_least=True))
    return found


def write_report(results: Results, folder: Path) -> str:
    """Writes ``bench.json``, ``bench.md`` and plots; returns the table for the terminal."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.json").write_bytes(orjson.dumps(asdict(results), option=orjson.OPT_INDENT_2))
    pictures = plots.draw(results.rounds, results.growth, folder)
    table = "\n".join(
        [
            "| what | median | spread | target | |",
            "|---|---|---|---|---|",
            *(r.line() for r in ratios(results)),
        ]
    )
    sections: list[tuple[str, Callable[[], str]]] = [
        ("Ratios", lambda: table),
        ("Runs (medians)", lambda: _runs(results)),
        ("CPU of ours", lambda: _cpu(results)),
        ("Latency at half load, ms", lambda: _latency(results.latency)),
        ("Growth", lambda: _growth(results.growth)),
        ("The leader is killed", lambda: _recovery(results.recovery)),
        ("Plots", lambda: "\n".join(f"![{path.stem}]({path.name})" for path in pictures)),
    ]
    parts = [(title, text()) for title, text in sections]
    kind = "a quick run" if results.quick else "a full run"
    head = f"# Benchmark\n\n{kind}, {results.seconds:.0f} s. Absolute figures are of that moment.\n"
    body = "\n".join(f"## {title}\n\n{text}\n" for title, text in parts if text)
    (folder / "bench.md").write_text(f"{head}\n{body}", encoding="utf-8")
    return f"{table}\n\n{_runs(results)}\n\n{folder / 'bench.md'}"


def _runs(results: Results) -> str:
    if not results.rounds:
        return ""
    lines = ["| contestant | per second | Python CPU, µs/order | load's CPU, µs/order |", "|---|---|---|---|"]
    for name in results.rounds:
        numbers = [results.median(name, key) for key in ("per_second", "python_cpu_us", "load_cpu_us")]
        lines.append(f"| {name} | {' | '.join(f'{number:,.0f}' for number in numbers)} |")
    return "\n".join(lines)


def _cpu(results: Results) -> str:
    runs = results.rounds.get(OURS)
    if not runs:
        return ""
    keys = [key for key in runs[0] if key.startswith(("cpu_us ", "rss_mib "))]
    lines = ["| what | median |", "|---|---|"]
    return "\n".join([*lines, *(f"| {key} | {results.median(OURS, key):,.0f} |" for key in keys)])


def _latency(runs: Sequence[dict[str, Any]]) -> str:
    if not runs:
        return ""
    lines = ["| rate | what | p50 | p95 | p99 |", "|---|---|---|---|---|"]
    for run in runs:
        for what in ("accept_ms", "notified_ms", "confirm_ms"):
            figures = " | ".join(f"{run[what][share]:.1f}" for share in ("p50", "p95", "p99"))
            lines.append(f"| {run['rate']:.0f}/s | {what.removesuffix('_ms')} | {figures} |")
    return "\n".join(lines)


def _growth(growth: dict[str, Any]) -> str:
    if not growth:
        return ""
    lines = ["| row | at | per second | largest RSS, MiB |", "|---|---|---|---|"]
    for row, entries in growth.items():
        for at, numbers in entries.items():
            memory = max(number for key, number in numbers.items() if key.startswith("rss"))
            lines.append(f"| {row} | {at} | {numbers['per_second']:,.0f} | {memory:.0f} |")
    return "\n".join(lines)


def _recovery(recovery: dict[str, Any]) -> str:
    if not recovery:
        return ""
    gap, refused = recovery["longest_gap_seconds"], recovery["refused"]
    return f"{recovery['killed']} killed: longest gap between two 202s {gap:.2f} s, refused {refused}."
