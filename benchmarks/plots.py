"""Pictures of a run; none where matplotlib is not installed."""

import importlib.util
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.contestants import HTTP
from benchmarks.ratios import Ratio, Results

LARGE: Final = (9.0, 4.5)
LINE_INCHES: Final = 0.34
MET, MISSED, PLAIN, TARGET = "tab:green", "tab:red", "tab:gray", "black"


def draw(results: Results, ratios: Sequence[Ratio], folder: Path) -> list[Path]:
    """Writes PNG files into ``folder`` and returns their paths."""
    if importlib.util.find_spec("matplotlib") is None:
        return []
    found = []
    if measured := [ratio for ratio in ratios if ratio.values]:
        found.append(_ratios(measured, folder / "ratios.png"))
    if results.rounds:
        found += [
            _bars(results, "per_second", "orders per second, by round", folder / "throughput.png"),
            _bars(results, "python_cpu_us", "Python CPU per order, µs, by round", folder / "cpu.png"),
        ]
    if results.sizes:
        found.append(_sizes(results.sizes, folder / "message-sizes.png"))
    return found + [_growth(row, entries, folder) for row, entries in results.growth.items() if entries]


def _ratios(ratios: Sequence[Ratio], path: Path) -> Path:
    """A line each: every pair a dot, the median a diamond, its interval a bar, the target a stroke."""
    figure, axes = _figure(
        "ratios: pairs, median with 95 % interval, target", (9.0, 1.5 + LINE_INCHES * len(ratios))
    )
    for place, ratio in enumerate(reversed(ratios)):
        colour = PLAIN if ratio.target is None else (MET if ratio.is_met else MISSED)
        axes.plot(ratio.values, [place] * len(ratio.values), ".", color=colour, alpha=0.5)
        axes.plot([ratio.median], [place], "D", color=colour)
        if ratio.interval is not None:
            axes.plot(ratio.interval, [place, place], "-", color=colour, linewidth=2)
        if ratio.target is not None:
            axes.plot([ratio.target], [place], "|", color=TARGET, markersize=16, markeredgewidth=2)
    axes.axvline(1.0, color=PLAIN, linewidth=0.5)
    axes.set_xscale("log")
    axes.set_yticks(range(len(ratios)), [ratio.what for ratio in reversed(ratios)])
    return _saved(figure, path)


def _bars(results: Results, key: str, title: str, path: Path) -> Path:
    figure, axes = _figure(title)
    names = [name for name in results.rounds if name != HTTP]
    axes.boxplot([results.values(name, key) for name in names])
    axes.set_xticks(range(1, len(names) + 1), names, rotation=20, ha="right")
    axes.set_ylim(bottom=0)
    return _saved(figure, path)


def _sizes(sizes: Mapping[str, Sequence[float]], path: Path) -> Path:
    figure, axes = _figure("brokers' CPU per confirmed message, µs, by its bytes")
    axes.plot([int(size) for size in sizes], [statistics.median(costs) for costs in sizes.values()], "o-")
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    return _saved(figure, path)


def _growth(row: str, entries: Mapping[str, Mapping[str, float]], folder: Path) -> Path:
    figure, axes = _figure(f"orders per second: {row}")
    axes.bar(list(entries), [numbers["per_second"] for numbers in entries.values()])
    return _saved(figure, folder / f"growth-{row}.png")


def _saved(figure: Any, path: Path) -> Path:
    figure.savefig(path, dpi=110, bbox_inches="tight")
    return path


def _figure(title: str, inches: tuple[float, float] = LARGE) -> tuple[Any, Any]:
    """Without pyplot, which keeps every figure and asks for a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - optional
    from matplotlib.figure import Figure  # noqa: PLC0415 - optional

    figure = Figure(figsize=inches)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title)
    return figure, axes
