"""Small pieces of HTML and of wording. What comes from outside is escaped here."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

UNKNOWN: Final = "–"
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def element(tag: str, text: str, css_class: str = "") -> str:
    """An element with nothing but text in it."""
    attributes = f' class="{css_class}"' if css_class else ""
    return f"<{tag}{attributes}>{escape(text)}</{tag}>"


def badge(text: str, css_class: str) -> str:
    """A state, in colour and in words."""
    return element("span", text, f"state {css_class}")


def row(heading: str, *cells: str) -> str:
    """A row of a table whose first cell names it. ``cells`` are HTML."""
    return f'<tr><th scope="row">{escape(heading)}</th>{"".join(cells)}</tr>'


def cell(html: str, css_class: str = "") -> str:
    """A cell around HTML."""
    attributes = f' class="{css_class}"' if css_class else ""
    return f"<td{attributes}>{html}</td>"


def number(value: int | None, css_class: str = "") -> str:
    """A cell with a count."""
    return cell(escape(figure(value)), f"number {css_class}".rstrip())


def table(rows: Iterable[str], columns: Sequence[str] = (), numeric: frozenset[str] = frozenset()) -> str:
    """A table; those of its columns that are ``numeric`` are set to the right."""
    heads = "".join(
        f'<th scope="col"{" class=number" if column in numeric else ""}>{escape(column)}</th>'
        for column in columns
    )
    head = f"<thead><tr>{heads}</tr></thead>" if heads else ""
    return f'<div class="wide"><table>{head}<tbody>{"".join(rows)}</tbody></table></div>'


def figure(value: int | None) -> str:
    """A count for people."""
    return UNKNOWN if value is None else f"{value:,}"


def amount(value: int, noun: str) -> str:
    """``1 consumer``, ``2 consumers``."""
    return f"{value:,} {noun}" if value == 1 else f"{value:,} {noun}s"


def duration(seconds: float) -> str:
    """A time span in its two largest units, such as ``3 min 20 s``."""
    rest = int(seconds)
    parts = []
    for size, unit in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "less than 1 s"


def megabytes(value: int | None) -> str:
    """An amount of memory."""
    return UNKNOWN if value is None else f"{value / 1_000_000:,.0f} MB"
