"""The live page, rendered here in full, so that it can be read without JavaScript."""

from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dashboard.overview.attention import attention, is_old
from dashboard.overview.brokers import INTAKES
from dashboard.overview.state import Answer, PipelineState, Question, QueueState
from shared.pipeline import CONSUMPTIONS, NOTIFIER, RETRY_TIERS_SECONDS, Consumption
from shared.text import visible

STATIC_FILES: Final = ("page.css", "page.js", "icon.svg")
SKUS_SHOWN: Final = 200
UNKNOWN: Final = "–"
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


class Page:
    """The template and the files that it refers to, read once; ``notice`` stands above everything else."""

    def __init__(self, refresh_seconds: int, notice: str = "") -> None:
        environment = Environment(
            loader=PackageLoader("dashboard"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=shown,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters |= {"amount": amount, "duration": duration, "megabytes": megabytes}
        environment.globals |= {
            "refresh_seconds": refresh_seconds,
            "notice": notice,
            "skus_shown": SKUS_SHOWN,
            "is_old": is_old,
        }
        self._template = environment.get_template("page.html")
        folder = files("dashboard").joinpath("static")
        self.files = {name: folder.joinpath(name).read_text(encoding="utf-8") for name in STATIC_FILES}

    def render(self, state: PipelineState, question: Question, answer: Answer) -> str:
        """The page as HTML."""
        known = {} if is_old(state.broker) else state.broker.queues
        return self._template.render(
            state=state,
            store=state.store,
            broker=state.broker,
            question=question,
            answer=answer,
            faults=attention(state),
            others=[_main(each, known) for each in CONSUMPTIONS if each not in (*INTAKES, NOTIFIER)],
            queues=[row for each in CONSUMPTIONS for row in _rows(each, state.broker.queues)],
        )


def _main(consumption: Consumption, known: Mapping[str, QueueState]) -> QueueState:
    return known.get(consumption.queue) or QueueState(name=consumption.queue)


def _rows(
    consumption: Consumption, known: Mapping[str, QueueState]
) -> Iterator[tuple[str, QueueState | None, str]]:
    """Name, state and purpose of a consumer's queues; its retry tiers as one."""
    yield consumption.queue, known.get(consumption.queue), "main"
    tiers = [known.get(consumption.retry_queue(seconds)) for seconds in RETRY_TIERS_SECONDS]
    seconds = ", ".join(map(str, RETRY_TIERS_SECONDS))
    yield f"{consumption.retry_prefix}.* ({seconds} s)", _together(tiers), "retry"
    yield consumption.dead_queue, known.get(consumption.dead_queue), "dead"


def _together(tiers: Sequence[QueueState | None]) -> QueueState | None:
    """Retry tiers as one queue, whose members are those of the tier that has the fewest."""
    known = [tier for tier in tiers if tier is not None]
    if len(known) < len(tiers):
        return None
    fewest = min(known, key=lambda tier: len(tier.online))
    return QueueState(
        name=fewest.name,
        ready=sum(tier.ready or 0 for tier in known),
        unacked=sum(tier.unacked or 0 for tier in known),
        members=fewest.members,
        online=fewest.online,
        is_leaderless=any(tier.is_leaderless for tier in known),
    )


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
