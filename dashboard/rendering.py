"""How pages are made: one set of templates, rendered in full, so that they can be read without JavaScript."""

import re
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from shared.currencies import written
from shared.text import visible

STATIC_FILES: Final = ("page.css", "page.js", "icon.svg")
UNKNOWN: Final = "–"
_PARTS: Final = re.compile(r"[^._]*[._]|[^._]+")
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


class Pages:
    """The templates and the files that they refer to, read once; ``notice`` stands above everything else."""

    def __init__(self, refresh_seconds: int, notice: str = "") -> None:
        self._environment = Environment(
            loader=PackageLoader("dashboard"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=shown,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "amount": amount,
            "duration": duration,
            "lines": lines,
            "megabytes": megabytes,
            "money": written,
            "parts": parts,
        }
        self._environment.globals |= {
            "refresh_seconds": refresh_seconds,
            "notice": notice,
            "pause_seconds": None,
            "follows": True,
            "is_written_on": False,
        }
        folder = files("dashboard").joinpath("static")
        self.files = {name: folder.joinpath(name).read_text(encoding="utf-8") for name in STATIC_FILES}

    def render(self, template: str, **variables: Any) -> str:
        """A page as HTML."""
        return self._environment.get_template(template).render(**variables)


def shown(value: Any) -> Any:
    """What the template prints: counts with their thousands apart, text of strangers made visible."""
    match value:
        case None:
            return UNKNOWN
        case Markup():
            return value
        case int():
            return f"{value:,}"
        case _:
            return visible(str(value))


def lines(text: str) -> Markup:
    """Text of several lines, each of them made visible."""
    return Markup("\n").join(visible(line) for line in text.split("\n"))


def parts(name: str) -> Markup:
    """A name that may break behind each of its parts rather than inside one."""
    return Markup("<wbr>").join(visible(part) for part in _PARTS.findall(name))


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


def megabytes(value: int) -> str:
    """An amount of memory."""
    return f"{value / 1_000_000:,.0f} MB"
