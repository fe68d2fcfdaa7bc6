"""A consumer that is one function: what it returns and raises is the fate of the one event."""

import asyncio
from collections import Counter

import pytest

from shared.errors import PermanentError, StoreUnavailable
from shared.messages import Event, OrderCreated, OrderRejected
from shared.messaging.consumer import EventConsumer, consumer
from shared.messaging.handlers import Incoming
from shared.messaging.retry import Dead, Done, History, Outcome, Retry
from shared.service.consuming import consuming
from tests.harness.examples import an_order, created

FATES: dict[str, Outcome | Exception | None] = {
    "nothing": None,
    "done": Done(),
    "later": Retry(reason="not_yet", error=""),
    "never": Dead(reason="unwanted", error=""),
    "broken": ValueError("no such thing"),
    "gone": PermanentError("no such customer"),
}


def told(*order_ids: str) -> list[Incoming]:
    """Events that arrived together."""
    return [Incoming(event=created(an_order(each)), history=History()) for each in order_ids]


def by_fate(seen: Counter[str], *, away: bool = False) -> EventConsumer:
    """A consumer to whose orders happens what they are called; it counts them."""

    @consumer("notifier", events=[OrderCreated, OrderRejected])
    async def function(event: Event[OrderCreated]) -> Outcome | None:
        if away and event.subject == "away":
            raise StoreUnavailable("away")
        await asyncio.sleep(0)
        seen[event.subject] += 1
        fate = FATES.get(event.subject)
        if isinstance(fate, Exception):
            raise fate
        return fate

    return function


async def test_each_event_has_its_own_outcome_and_is_told_of_once() -> None:
    """A neighbour that fails is no reason to be told again."""
    seen: Counter[str] = Counter()
    outcomes = await by_fate(seen).handler()(told(*FATES))
    done, done_too, later, never, broken, gone = outcomes
    assert (done, done_too, later, never) == (Done(), Done(), FATES["later"], FATES["never"])
    assert isinstance(broken, Retry)
    assert "no such thing" in broken.error
    assert isinstance(gone, Dead)
    assert gone.reason == "permanent_error"
    assert seen == Counter(FATES.keys())


async def test_what_everybody_needs_is_waited_for_by_all() -> None:
    """Once the others have come to their end, so that none runs beside itself."""
    seen: Counter[str] = Counter()
    with pytest.raises(StoreUnavailable):
        await by_fate(seen, away=True).handler()(told("away", "nothing", "done"))
    assert seen == {"nothing": 1, "done": 1}


def test_its_program_has_the_settings_of_its_row() -> None:
    """As other consumers have them."""
    program = consuming(by_fate(Counter()))
    assert program.name == "notifier"
    assert program.settings.model_config["env_prefix"] == "NOTIFIER_"
