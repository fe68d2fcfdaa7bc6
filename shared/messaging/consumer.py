"""A consumer as one function: the shortest way to be one.

The function is told of an event, or of those that arrived together, and has a second argument where it asks
for a transaction: what it writes there is written exactly once. For more, such as jobs beside it, a service
is built from handlers, see ``service.worker``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any, Protocol, get_origin, get_type_hints

from shared.errors import DependencyUnavailable
from shared.logs import get_logger
from shared.messages import Event, EventData
from shared.messaging.handlers import BatchHandler, Incoming, Middleware, wrapped
from shared.messaging.retry import Done, Outcome, outcome_of_error

log = get_logger(__name__)

ConsumerFunction = Callable[..., Awaitable[Any]]


class Inbox(Protocol):
    """The events that a service has dealt with, and the transactions in which it does."""

    async def once(
        self, events: Sequence[Event[Any]], effects: Callable[[Sequence[Event[Any]], Any], Awaitable[None]]
    ) -> None:
        """Calls ``effects`` with those events that are new and a transaction, whose writes are kept together
        with their ids, or not at all. Raises DependencyUnavailable where the outcome is unknown.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class EventConsumer:
    """What a service does with events of these kinds.

    ``transaction`` is the type of the transaction that the function asks for, or None; ``in_batches`` says
    that it takes a sequence of events.
    """

    service: str
    events: Sequence[type[EventData]]
    function: ConsumerFunction
    transaction: type | None
    in_batches: bool
    middleware: Sequence[Middleware]

    def handler(self, inbox: Inbox | None = None) -> BatchHandler:
        """The function as the router wants it; ``inbox`` gives it the transactions that it asks for."""
        if (inbox is None) != (self.transaction is None):
            raise TypeError(f"{self.service} asks for {self.transaction}, and its inbox is {inbox}")
        inner = self._told_of if inbox is None else _transacted(inbox, self._effects)
        return wrapped(inner, self.middleware)

    async def _effects(self, events: Sequence[Event[Any]], transaction: Any) -> None:
        told = [events] if self.in_batches else events
        for each in told:
            if (outcome := await self.function(each, transaction)) is not None:
                raise TypeError(f"{self.service} returned {outcome!r} and has a transaction: raise instead")

    async def _told_of(self, batch: Sequence[Incoming]) -> Sequence[Outcome]:
        if self.in_batches:
            outcomes = await self.function([each.event for each in batch])
            return [Done() for _ in batch] if outcomes is None else outcomes
        if len(batch) == 1:  # without a task of its own: what dies with this one dies whole
            return [await self._outcome(batch[0])]
        ended = await asyncio.gather(*(self._outcome(each) for each in batch), return_exceptions=True)
        for error in ended:  # when all of them have ended: all are told again
            if isinstance(error, BaseException):
                raise error
        return [outcome for outcome in ended if not isinstance(outcome, BaseException)]

    async def _outcome(self, incoming: Incoming) -> Outcome:
        """Judged for each event alone, so that no neighbour is told of again because of it."""
        try:
            outcome: Outcome | None = await self.function(incoming.event)
        except DependencyUnavailable:
            raise
        except Exception as error:
            log.exception("handler failed", event_id=incoming.event.id)
            return outcome_of_error(error)
        return outcome or Done()


def consumer(
    service: str, *, events: Sequence[type[EventData]], middleware: Sequence[Middleware] = ()
) -> Callable[[ConsumerFunction], EventConsumer]:
    """Makes a consumer of a function. ``service`` has a row in the map, ``shared.pipeline.CONSUMPTIONS``.

    The function takes an ``Event``, and then is told of events one at a time, or a ``Sequence`` of them, and
    then of those that arrived together. Without a second argument it may be told of an event again, so what
    it does outside goes by ``event.id``; it returns an outcome (in batches, one for each event), or None for
    :class:`Done`. A second argument is a transaction, ``RedisTransaction`` or ``AsyncConnection`` of
    SQLAlchemy by its annotation: what is written there is kept together with the events' ids, exactly once,
    and the function returns nothing.

    What it raises is a retry of that event (after 1, 5, 30, 120 and 600 s, then it is a dead letter). A
    DependencyUnavailable, since what everything needs is away, spends no attempt; a PermanentError makes a
    dead letter at once.
    """

    def decorated(function: ConsumerFunction) -> EventConsumer:
        hints = get_type_hints(function)
        asked = [hints.get(name) for name in signature(function).parameters]
        if not 1 <= len(asked) <= 2 or None in asked:
            raise TypeError(f"{function} takes an event or a sequence of them, and may take a transaction")
        return EventConsumer(
            service=service,
            events=tuple(events),
            function=function,
            transaction=asked[1] if len(asked) == 2 else None,
            in_batches=get_origin(asked[0]) is Sequence,
            middleware=tuple(middleware),
        )

    return decorated


def _transacted(
    inbox: Inbox, effects: Callable[[Sequence[Event[Any]], Any], Awaitable[None]]
) -> BatchHandler:
    async def handler(batch: Sequence[Incoming]) -> Sequence[Outcome]:
        await inbox.once([each.event for each in batch], effects)
        return [Done() for _ in batch]

    return handler
