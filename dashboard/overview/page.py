"""What the page about the whole pipeline shows."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from dashboard.overview.attention import Flow, attention, flow, is_old
from dashboard.overview.brokers import INTAKES
from dashboard.overview.pace import Pace
from dashboard.overview.state import Answer, PipelineState, Question, QueueState
from dashboard.rendering import Pages
from shared.pipeline import CONSUMPTIONS, NOTIFIER, RETRY_TIERS_SECONDS, Consumption

SKUS_SHOWN: Final = 200
_FLOWS: Final = {
    Flow.FLOWING: "Orders flow.",
    Flow.WAITING: "Orders are accepted, and wait.",
    Flow.REFUSED: "No order is accepted.",
}


def overview_page(
    pages: Pages,
    state: PipelineState,
    pace: Pace,
    question: Question,
    answer: Answer,
    *,
    follows: bool = True,
) -> str:
    """The page as HTML. It ``follows`` events where its reader may."""
    faults, flowing = attention(state), flow(state)
    known = {} if is_old(state.broker) else state.broker.queues
    return pages.render(
        "overview.html",
        state=state,
        pace=pace,
        store=state.store,
        broker=state.broker,
        question=question,
        answer=answer,
        follows=follows,
        faults=faults,
        look="good" if not faults else "unsure" if flowing is Flow.FLOWING else "bad",
        flow=_FLOWS[flowing],
        skus_shown=SKUS_SHOWN,
        is_old=is_old,
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
