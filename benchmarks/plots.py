"""Pictures of a run; none where matplotlib is not installed."""

import importlib.util
from pathlib import Path
from typing import Any, Final

LARGE: Final = (9.0, 4.5)


def draw(rounds: dict[str, list[dict[str, float]]], growth: dict[str, Any], folder: Path) -> list[Path]:
    """Writes PNG files into ``folder`` and returns their paths."""
    if importlib.util.find_spec("matplotlib") is None:
        return []
    found = []
    if rounds:
        found += [
            _bars(rounds, "per_second", "orders per second, by round", folder / "throughput.png"),
            _bars(rounds, "python_cpu_us", "Python CPU per order, µs, by round", folder / "cpu.png"),
        ]
    return found + [_growth(row, entries, folder) for row, entries in growth.items() if entries]


def _bars(rounds: dict[str, list[dict[str, float]]], key: str, title: str, path: Path) -> Path:
    figure, axes = _figure(title)
    names = [name for name in rounds if name not in ("bare Redis", "bare aiohttp")]
    axes.boxplot([[numbers[key] for numbers in rounds[name]] for name in names])
    axes.set_xticks(range(1, len(names) + 1), names)
    axes.set_ylim(bottom=0)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    return path


def _growth(row: str, entries: dict[str, dict[str, float]], folder: Path) -> Path:
    figure, axes = _figure(f"orders per second: {row}")
    axes.bar(list(entries), [numbers["per_second"] for numbers in entries.values()])
    path = folder / f"growth-{row}.png"
    figure.savefig(path, dpi=110, bbox_inches="tight")
    return path


def _figure(title: str) -> tuple[Any, Any]:
    """Without pyplot, which keeps every figure and asks for a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - optional
    from matplotlib.figure import Figure  # noqa: PLC0415 - optional

    figure = Figure(figsize=LARGE)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title)
    return figure, axes
