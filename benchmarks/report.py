"""From numbers to a page: the ratios against their targets, what lies behind them, JSON and plots."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks import plots
from benchmarks.contestants import OURS, OURS_MANY, OURS_OFF
from benchmarks.ratios import Ratio, Results, ratios

SHARES: Final = ("p50", "p95", "p99")


def write_report(results: Results, folder: Path) -> str:
    """Writes ``bench.json``, ``bench.md`` and plots; returns what the terminal shows."""
    folder.mkdir(parents=True, exist_ok=True)
    found = ratios(results)
    told = {
        ratio.what: {"median": ratio.median, "interval": ratio.interval} for ratio in found if ratio.values
    }
    everything = {**asdict(results), "ratios": told}
    (folder / "bench.json").write_bytes(orjson.dumps(everything, option=orjson.OPT_INDENT_2))
    pictures = plots.draw(results, found, folder)
    sections: list[tuple[str, Callable[[], str]]] = [
        ("Ratios", lambda: _ratios(found)),
        ("Runs (medians)", lambda: _runs(results)),
        ("CPU per order, µs, and memory", lambda: _parts(results)),
        ("Latency, ms", lambda: _latency(results)),
        ("Brokers' CPU per message, µs", lambda: _sizes(results.sizes)),
        ("Growth", lambda: _growth(results.growth)),
        ("The leader is killed", lambda: _recovery(results.recovery)),
        ("Plots", lambda: "\n".join(f"![{path.stem}]({path.name})" for path in pictures)),
    ]
    parts = [(title, text()) for title, text in sections]
    kind = "a quick run" if results.quick else "a full run"
    head = f"# Benchmark\n\n{kind}, {results.seconds:.0f} s. Absolute figures are of that moment.\n"
    body = "\n".join(f"## {title}\n\n{text}\n" for title, text in parts if text)
    (folder / "bench.md").write_text(f"{head}\n{body}", encoding="utf-8")
    shown = [text for title, text in parts if text and title != "Plots"]
    return "\n\n".join([*shown, str(folder / "bench.md")])


def _ratios(found: Sequence[Ratio]) -> str:
    head = ("what", "median", "range", "95 %", "pairs", "target", "goal", "")
    return _table(head, [_row(ratio) for ratio in found if ratio.values or ratio.target])


def _row(ratio: Ratio) -> list[str]:
    sign = "≥" if ratio.at_least is not None else "≤"
    target = "" if ratio.target is None else f"{sign} {ratio.target:g}"
    goal = "" if ratio.goal is None else f"{ratio.goal:g}"
    if not ratio.values:
        return [ratio.what, "", "", "", "0", target, goal, "not measured here"]
    spread = f"{min(ratio.values):.2f} – {max(ratio.values):.2f}"
    interval = "" if ratio.interval is None else "{:.2f} – {:.2f}".format(*ratio.interval)
    verdict = ("met" if ratio.is_met else "**missed**") if target else ""
    figures = [f"{ratio.median:.2f}", spread, interval, str(len(ratio.values))]
    return [ratio.what, *figures, target, goal, verdict]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Empty without rows."""
    if not rows:
        return ""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def _runs(results: Results) -> str:
    keys = ("per_second", "python_cpu_us", "all_cpu_us", "load_cpu_us")
    rows = [[name, *(f"{results.median(name, key):,.0f}" for key in keys)] for name in results.rounds]
    head = ("contestant", "per second", "Python CPU, µs/order", "all CPU, µs/order", "load's CPU, µs/order")
    return _table(head, rows)


def _parts(results: Results) -> str:
    names = [name for name in (OURS, OURS_MANY, OURS_OFF) if name in results.rounds]
    keys = [key for key in results.rounds.get(OURS, [{}])[0] if key.startswith(("cpu_us ", "rss_mib "))]
    rows = [[key, *(f"{results.median(name, key):,.0f}" for name in names)] for key in keys]
    return _table(["what", *names], rows)


def _latency(results: Results) -> str:
    runs: list[tuple[str, Sequence[Mapping[str, float]]]] = [
        (f"{name}, saturated", numbers) for name, numbers in results.rounds.items()
    ]
    for at in results.latency[0] if results.latency else ():
        rate = statistics.median(run[at]["rate"] for run in results.latency)
        runs.append((f"{at}, {rate:.0f}/s", [run[at] for run in results.latency]))
    rows = []
    for name, numbers in runs:
        for what in ("accept", "notified", "confirm"):
            if f"{what}_p50_ms" in numbers[0]:
                of_shares = ([run[f"{what}_{share}_ms"] for run in numbers] for share in SHARES)
                rows.append([name, what, *(f"{statistics.median(values):.1f}" for values in of_shares)])
    return _table(("load", "what", *SHARES), rows)


def _sizes(sizes: Mapping[str, Sequence[float]]) -> str:
    rows = [
        [f"{int(size):,}", f"{statistics.median(costs):,.0f}", f"{min(costs):,.0f} – {max(costs):,.0f}"]
        for size, costs in sizes.items()
    ]
    return _table(("bytes", "median", "range"), rows)


def _growth(growth: Mapping[str, Any]) -> str:
    rows = []
    for row, entries in growth.items():
        for at, numbers in entries.items():
            memory = max(number for key, number in numbers.items() if key.startswith("rss"))
            rows.append([row, at, f"{numbers['per_second']:,.0f}", f"{memory:.0f}"])
    return _table(("row", "at", "per second", "largest RSS, MiB"), rows)


def _recovery(recovery: Mapping[str, Any]) -> str:
    if not recovery:
        return ""
    gap, refused = recovery["longest_gap_seconds"], recovery["refused"]
    return f"{recovery['killed']} killed: longest gap between two 202s {gap:.2f} s, refused {refused}."
