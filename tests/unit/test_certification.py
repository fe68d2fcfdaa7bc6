"""Consumers are held to their promises: right ones pass, and of wrong ones it is said which they break."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from order_processor.handlers import OrderPlacedHandler
from shared.errors import PermanentError
from shared.messages import Event, OrderCreated
from shared.messaging.certification import BrokenPromise, Certified, Promise, World, certify
from shared.messaging.consumer import consumer
from shared.messaging.handlers import Incoming
from shared.messaging.retry import Done, Outcome, Retry
from shared.orders.redis.decisions import RedisDecisionStore
from tests.harness.afterlife import A_CENTURY, SECONDS, Postbox, afterlife
from tests.harness.examples import an_order, created, placed
from tests.harness.notifying import notification_handler, notification_store
from tests.harness.stores import store_in_process

EVENTS = [created(an_order(f"order{number}", cable=number)) for number in (1, 2, 3)]


class Books:
    """What consumers of the tests do: they count pieces, look up what they did, and may be slow about it."""

    def __init__(self) -> None:
        self.pieces = 0
        self.done: set[str] = set()
        self.last = ""

    async def count(self, event: Event[OrderCreated]) -> None:
        """The effect, and that it was done, in one."""
        await asyncio.sleep(0)
        if event.id not in self.done:
            self.done.add(event.id)
            self.pieces += event.data.order.items[0].qty


async def exactly_once(books: Books, event: Event[OrderCreated]) -> None:
    """Right: effect and mark come together."""
    await books.count(event)
    await asyncio.sleep(0)


async def never_looks(books: Books, event: Event[OrderCreated]) -> None:
    """Wrong: counts whatever comes."""
    await asyncio.sleep(0)
    books.pieces += event.data.order.items[0].qty


async def marks_first(books: Books, event: Event[OrderCreated]) -> None:
    """Wrong: it takes its mark back where it is stopped, but what dies before the effect is never done."""
    if event.id in books.done:
        return
    books.done.add(event.id)
    try:
        await asyncio.sleep(0)
    except BaseException:
        books.done.remove(event.id)
        raise
    books.pieces += event.data.order.items[0].qty


async def marks_last(books: Books, event: Event[OrderCreated]) -> None:
    """Wrong: what dies between the effect and the mark is done again."""
    if event.id in books.done:
        return
    books.pieces += event.data.order.items[0].qty
    await asyncio.sleep(0)
    books.done.add(event.id)


async def keeps_its_mark(books: Books, event: Event[OrderCreated]) -> None:
    """Wrong: it marks first, and takes the mark back where it fails, but not where it is cancelled."""
    if event.id in books.done:
        return
    books.done.add(event.id)
    try:
        await asyncio.sleep(0)
    except OSError:
        books.done.remove(event.id)
    books.pieces += event.data.order.items[0].qty


async def looks_too_early(books: Books, event: Event[OrderCreated]) -> None:
    """Wrong: another replica may do it between the look and the deed."""
    if event.id in books.done:
        return
    await asyncio.sleep(0)
    books.done.add(event.id)
    books.pieces += event.data.order.items[0].qty


async def does_nothing(_: Books, __: Event[OrderCreated]) -> None:
    """Wrong: there is nothing to be seen of it."""


async def goes_by_order(books: Books, event: Event[OrderCreated]) -> None:
    """Wrong: the last to come wins."""
    await books.count(event)
    books.last = event.subject


async def gives_up(_: Books, __: Event[OrderCreated]) -> Outcome:
    """Wrong: makes dead letters of good events."""
    raise PermanentError("no such order")


async def puts_off(_: Books, __: Event[OrderCreated]) -> Outcome:
    """Wrong: never comes to an end."""
    return Retry(reason="later", error="")


Function = Callable[[Books, Event[OrderCreated]], Any]


def world_of(function: Function) -> World:
    """Empty books, and a consumer that keeps them so."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Certified]:
        books = Books()

        @consumer("notifier", events=[OrderCreated])
        async def told(event: Event[OrderCreated]) -> Outcome | None:
            outcome: Outcome | None = await function(books, event)
            return outcome

        async def effects() -> tuple[int, str]:
            return books.pieces, books.last

        yield Certified(handle=told.handler(), effects=effects)

    return world


async def test_a_consumer_that_keeps_its_promises_passes() -> None:
    """Whatever happens to its events."""
    await certify(world_of(exactly_once), EVENTS)


@pytest.mark.parametrize(
    ("wrong", "broken"),
    [
        (never_looks, "when each event comes twice, its effects are (12, '')"),
        (marks_first, "when it dies at await"),
        (keeps_its_mark, "when it is cancelled at await 1 of order1:order.created.v1, which comes again"),
        (marks_last, "when each event comes twice at once"),
        (does_nothing, "the events have no effect that is seen"),
        (puts_off, "order1:order.created.v1 is put off 6 times"),
        (gives_up, "order1:order.created.v1 is given up: permanent_error"),
        (goes_by_order, "when the events come in another order"),
    ],
)
async def test_what_a_wrong_consumer_breaks_is_named(wrong: Function, broken: str) -> None:
    """In words, with what was seen and what would be right."""
    with pytest.raises(BrokenPromise) as raised:
        await certify(world_of(wrong), EVENTS)
    assert broken in str(raised.value)


async def test_replicas_that_get_in_each_others_way_are_seen() -> None:
    """Each of which takes its events one after the other, so that a batch does not show it."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Certified]:
        books = Books()

        async def one_by_one(batch: Sequence[Incoming]) -> Sequence[Outcome]:
            for each in batch:
                await looks_too_early(books, each.event)
            return [Done() for _ in batch]

        async def effects() -> int:
            return books.pieces

        yield Certified(handle=one_by_one, effects=effects)

    with pytest.raises(BrokenPromise, match="when two deal with each event at the same time"):
        await certify(world, EVENTS)


# --- the handlers of this project -------------------------------------------------------------------------


@asynccontextmanager
async def deciding() -> AsyncIterator[Certified]:
    """The processor's, over orders that were accepted and enough stock."""
    async with afterlife() as world:
        await world.stock("cable", 100)
        for number in (1, 2, 3):
            await world.accept(an_order(f"order{number}", cable=number))
        store = RedisDecisionStore(world.redis, timeout_seconds=SECONDS, oldest_recreated_seconds=A_CENTURY)

        async def effects() -> tuple[int, int, list[str]]:
            steps = [step for number in (1, 2, 3) for step in await world.steps(f"order{number}")]
            return await world.available("cable"), await world.decided(), steps

        yield Certified(handle=OrderPlacedHandler(store), effects=effects)


@asynccontextmanager
async def notifying() -> AsyncIterator[Certified]:
    """The notifier's; that a customer may be told again after a death is what G5 allows."""
    async with store_in_process() as redis:
        postbox = Postbox()
        store = notification_store(redis, lease_seconds=0.001, retention_seconds=A_CENTURY)

        async def effects() -> set[str]:
            return set(postbox.sent)

        handler = notification_handler(store, postbox, lease_seconds=0.001)
        yield Certified(handle=handler, effects=effects)


@pytest.mark.parametrize(
    ("world", "events"),
    [
        (deciding, [placed(an_order(f"order{number}", cable=number)) for number in (1, 2, 3)]),
        (notifying, EVENTS),
    ],
    ids=["order_processor", "notifier"],
)
async def test_the_handlers_of_this_project_pass(
    world: World, events: Sequence[Event[Any]], promise: Promise
) -> None:
    """As those of others must, by the name of each promise."""
    await promise(world, events)
