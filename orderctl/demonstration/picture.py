"""The demonstration on the screen: what flows, the gap, and the brokers; or plain lines without a screen."""

from collections.abc import Callable, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from orderctl.demonstration.chronicle import Chronicle

BUCKET_SECONDS: Final = 0.5
COLUMNS: Final = 64
MOMENTS: Final = 7
FULL_OUTBOX: Final = 200
"""What fills its line at least: orders on their way to a broker, some dozens of them, are no backlog."""
_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_ROOM_FOR_NAMES: Final = 46


def picture(chronicle: Chronicle, now: float, columns: int, headline: str) -> RenderableType:
    """Everything at one glance; ``columns`` is how wide the console is."""
    width = max(16, min(COLUMNS, columns - _ROOM_FOR_NAMES))
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True, width=width)
    table.add_column(no_wrap=True)
    latest, accepted = chronicle.latest, len(chronicle.acknowledged)
    rows: Sequence[tuple[str, Callable[[float, int, float], list[int]], str, str]] = (
        ("202s per second", chronicle.acknowledged_per_bucket, "green", f"{accepted:,} accepted"),
        ("decisions per second", chronicle.decided_per_bucket, "cyan", f"{latest.decided:,} decided"),
        ("orders in the outbox", chronicle.outbox_per_bucket, "yellow", f"{latest.outbox:,} now"),
    )
    for name, series, style, figure in rows:
        values = series(BUCKET_SECONDS, width, now)
        is_flow = name != "orders in the outbox"
        drawn = sparkline(values, style, marks_gaps=is_flow, least_full=1 if is_flow else FULL_OUTBOX)
        table.add_row(name, drawn, figure)
    table.add_row("", _pointer(chronicle, now, width), "")
    brokers = Text.assemble(("brokers  ", "dim"), _brokers(chronicle), f"  {latest.told:,} told")
    moments = (Text(f"{moment.at:5.1f} s  {moment.text}") for moment in chronicle.moments[-MOMENTS:])
    title = Text.assemble((headline, "bold"), (f"  {now:.0f} s", "dim"))
    return Panel(Group(table, brokers, Text(), *moments), title=title, title_align="left", border_style="dim")


def line(chronicle: Chronicle, now: float) -> str:
    """The same as one plain line."""
    latest = chronicle.latest
    rate = sum(chronicle.acknowledged_per_bucket(BUCKET_SECONDS, 4, now)) / (4 * BUCKET_SECONDS)
    brokers = ", ".join(
        f"{node} {'up' if runs else 'DOWN'}" for node, runs in sorted(chronicle.nodes.items())
    )
    return (
        f"{now:6.1f} s  {rate:4.0f}/s accepted  {len(chronicle.acknowledged):6,} accepted  "
        f"{latest.decided:6,} decided  {latest.outbox:5,} in the outbox  {brokers}"
    )


def sparkline(values: Sequence[int], style: str, *, marks_gaps: bool, least_full: int = 1) -> Text:
    """One block per value, as high as it is beside the highest; a gap in what flows is a red dot."""
    highest = max(least_full, max(values, default=0))
    text = Text()
    has_flowed = False
    last = max((index for index, value in enumerate(values) if value), default=-1)
    for index, value in enumerate(values):
        has_flowed |= value > 0
        if value:
            text.append(_BLOCKS[min(len(_BLOCKS) - 1, value * len(_BLOCKS) // (highest + 1))], style)
        elif marks_gaps and has_flowed and index < last:
            text.append("·", "bold red")
        else:
            text.append(" " if marks_gaps else _BLOCKS[0], "dim")
    return text


def _pointer(chronicle: Chronicle, now: float, width: int) -> Text:
    """Arrows under the moments at which the broker died and came back, with words where there is room."""
    first = max(0, int(now / BUCKET_SECONDS) - width)
    marks = [(chronicle.killed_at, "▲ killed", "red"), (chronicle.started_at, "▲ started", "green")]
    placed = [(int(at / BUCKET_SECONDS) - first, mark, style) for at, mark, style in marks if at is not None]
    text = Text()
    for index, (column, mark, style) in enumerate(placed):
        end = placed[index + 1][0] if index + 1 < len(placed) else width
        if column >= len(text):
            text.append(" " * (column - len(text)))
            text.append(mark if column + len(mark) < end else mark[:1], style)
    return text


def _brokers(chronicle: Chronicle) -> Text:
    text = Text()
    for node, runs in sorted(chronicle.nodes.items()):
        text.append("● " if runs else "✗ ", "green" if runs else "bold red")
        text.append(f"{node}{' (led)' if node == chronicle.leader else ''}   ")
    return text


def summary(chronicle: Chronicle) -> Table:
    """What was seen, in figures."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    accepted, latest = len(chronicle.acknowledged), chronicle.latest
    table.add_row("killed", f"{chronicle.leader}, which led orders.queue, by SIGKILL under load")
    table.add_row(
        "clients", f"longest silence between two 202s {_milliseconds(chronicle.acknowledged_gap())}"
    )
    table.add_row("decisions", f"flowed again after {_milliseconds(chronicle.decided_gap())}")
    table.add_row("outbox", f"{chronicle.most_in_outbox:,} orders at most waited in it for a broker")
    if chronicle.back_at is not None and chronicle.started_at is not None:
        table.add_row(
            "the broker", f"served again {chronicle.back_at - chronicle.started_at:.1f} s after its start"
        )
    if chronicle.settled_at is not None and chronicle.load_ended_at is not None:
        after = max(0.0, chronicle.settled_at - chronicle.load_ended_at)
        table.add_row(
            "settled", f"{accepted:,} accepted, {latest.decided:,} decided, {after:.1f} s after the last"
        )
    return table


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms" if seconds < 2 else f"{seconds:.1f} s"
