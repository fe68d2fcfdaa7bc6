"""A consumer as one function: the shortest way to be one.

The function is told of events one at a time, and those that arrived together at the same time. For more, such
as dealing with many at once or jobs beside that, a service is built from handlers, see ``service.worker``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from shared.errors import DependencyUnavailable
from shared.logs import get_logger
from shared.messages import Event, EventData
from shared.messaging.retry import Done, Outcome, outcome_of_error
from shared.messaging.router import BatchHandler, Incoming

log = get_logger(__name__)

EventFunction = Callable[[Event[Any]], Awaitable[Outcome | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventConsumer:
    """What a service does with events of these kinds."""

    service: str
    events: Sequence[type[EventData]]
    handle: BatchHandler


def consumer(service: str, *, events: Sequence[type[EventData]]) -> Callable[[EventFunction], EventConsumer]:
    """Makes a consumer of a function. ``service`` has a row in the map, ``shared.pipeline.CONSUMPTIONS``.

    The function may be told of an event again, so what it does outside goes by ``event.id``. It returns an
    outcome, or None for :class:`Done`. What it raises is a retry of that event (after 1, 5, 30, 120 and
    600 s, then it is a dead letter). A DependencyUnavailable, since what everybody needs is away, spends no
    attempt; a PermanentError makes a dead letter at once.
    """

    def decorated(function: EventFunction) -> EventConsumer:
        async def handle(batch: Sequence[Incoming]) -> Sequence[Outcome]:
            if len(batch) == 1:  # without a task of its own: what dies with this one dies whole
                return [await _outcome(function, batch[0])]
            ended = await asyncio.gather(
                *(_outcome(function, each) for each in batch), return_exceptions=True
            )
            for error in ended:  # when all of them have ended: all are told again
                if isinstance(error, BaseException):
                    raise error
            return [outcome for outcome in ended if not isinstance(outcome, BaseException)]

        return EventConsumer(service=service, events=tuple(events), handle=handle)

    return decorated


async def _outcome(function: EventFunction, incoming: Incoming) -> Outcome:
    """Judged for each event alone, so that no neighbour is told of again because of it."""
    try:
        return await function(incoming.event) or Done()
    except DependencyUnavailable:
        raise
    except Exception as error:
        log.exception("handler failed", event_id=incoming.event.id)
        return outcome_of_error(error)
