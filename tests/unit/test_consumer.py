"""A consumer that is one function: what it returns and raises is the fate of the one event."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakeredis import FakeServer
from sqlalchemy.ext.asyncio import AsyncConnection

from orderctl.embedded.infrastructure import EmbeddedInfrastructure
from shared.errors import PermanentError, StoreUnavailable
from shared.messages import Event, OrderCreated, OrderRejected
from shared.messaging.consumer import ConsumerFunction, EventConsumer, consumer
from shared.messaging.handlers import BatchHandler, Incoming, Middleware, bounded
from shared.messaging.memory import MemoryBroker
from shared.messaging.retry import Dead, Done, History, Outcome, Retry
from shared.messaging.settlement import message_of
from shared.pipeline import NOTIFIER, RETRY_TIERS_SECONDS
from shared.redis.inbox import RedisInbox, RedisTransaction
from shared.service.consuming import FunctionSettings, consuming, inbox_of, jobs_of
from shared.service.worker import Worker
from shared.settings import CommonSettings
from shared.sql.database import open_database
from shared.sql.inbox import SqlInbox
from tests.harness.examples import an_order, created
from tests.harness.programs import running_program
from tests.harness.stores import free_port, store_in_process
from tests.harness.waiting import wait_until

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


async def test_a_function_of_a_sequence_is_told_of_what_arrived_together() -> None:
    """None stands for all of them; an outcome for each is taken as it is."""
    seen: list[int] = []

    @consumer("notifier", events=[OrderCreated])
    async def counts(events: Sequence[Event[OrderCreated]]) -> Sequence[Outcome] | None:
        seen.append(len(events))
        return None if len(events) < 3 else [Done(), Retry(reason="later"), Done()]

    handler = counts.handler()
    assert await handler(told("order1", "order2")) == [Done(), Done()]
    assert await handler(told("order1", "order2", "order3")) == [Done(), Retry(reason="later"), Done()]
    assert seen == [2, 3]


async def test_middleware_goes_around_in_the_order_in_which_it_is_named() -> None:
    """The first is outermost."""
    seen: list[str] = []

    def named(name: str) -> Middleware:
        def middleware(handler: BatchHandler) -> BatchHandler:
            async def around(batch: Sequence[Incoming]) -> Sequence[Outcome]:
                seen.append(f"{name} before {len(batch)}")
                outcomes = await handler(batch)
                seen.append(f"{name} after")
                return outcomes

            return around

        return middleware

    @consumer("notifier", events=[OrderCreated], middleware=[named("first"), named("second")])
    async def function(event: Event[OrderCreated]) -> None:
        seen.append(event.subject)

    await function.handler()(told("order1"))
    assert seen == ["first before 1", "second before 1", "order1", "second after", "first after"]


async def test_a_handler_that_hangs_is_cancelled() -> None:
    """Otherwise it would hold up its whole queue."""
    hanging = asyncio.Event()

    async def hangs(_: Sequence[Incoming]) -> Sequence[Outcome]:
        await hanging.wait()
        return []

    with pytest.raises(TimeoutError):
        await bounded(0.01)(hangs)(told("order1"))


async def takes_nothing() -> None:
    """No consumer."""


async def takes_anything(event, transaction) -> None:  # type: ignore[no-untyped-def]  # the point of it
    """No consumer: it does not say what it takes."""


@pytest.mark.parametrize("function", [takes_nothing, takes_anything])
def test_a_function_that_takes_something_else_is_refused(function: ConsumerFunction) -> None:
    """At its definition, not at the first event."""
    with pytest.raises(TypeError, match="takes an event or a sequence of them"):
        consumer("notifier", events=[OrderCreated])(function)


async def test_a_function_with_a_transaction_needs_an_inbox_and_returns_nothing() -> None:
    """An outcome would come too late: what was written stays."""

    class Everything:
        async def once(self, events: Sequence[Event[OrderCreated]], effects: ConsumerFunction) -> None:
            await effects(events, RedisTransaction("notifier"))

    @consumer("notifier", events=[OrderCreated])
    async def function(event: Event[OrderCreated], transaction: RedisTransaction) -> Outcome:
        return Retry(reason="later")

    with pytest.raises(TypeError, match="its inbox is None"):
        function.handler()
    with pytest.raises(TypeError, match="raise instead"):
        await function.handler(Everything())(told("order1"))


def test_its_program_has_the_settings_of_its_row() -> None:
    """As other consumers have them."""
    program = consuming(by_fate(Counter()))
    assert program.name == "notifier"
    assert program.settings.model_config["env_prefix"] == "NOTIFIER_"


async def test_its_function_has_as_long_as_the_setting_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that hangs is cancelled, and its event is put off."""
    monkeypatch.setenv("NOTIFIER_HANDLER_TIMEOUT_SECONDS", "0.01")
    broker, hanging = MemoryBroker(), asyncio.Event()

    @consumer("notifier", events=[OrderCreated])
    async def hangs(event: Event[OrderCreated]) -> None:
        await hanging.wait()

    program = consuming(hangs)
    own: Any = program.settings
    infrastructure = EmbeddedInfrastructure(broker, FakeServer())
    async with running_program(program, own(ops_port=free_port()), infrastructure):
        await broker.publish(message_of(created()))
        retries = [NOTIFIER.retry_queue(tier) for tier in RETRY_TIERS_SECONDS]
        await wait_until(lambda: any(map(broker.depth, retries)), what="it is put off")


async def in_redis(event: Event[OrderCreated], transaction: RedisTransaction) -> None:
    """Asks for the store."""


async def in_sql(event: Event[OrderCreated], transaction: AsyncConnection) -> None:
    """Asks for a database."""


async def in_nothing(event: Event[OrderCreated], transaction: int) -> None:
    """Asks for what there is not."""


async def test_a_function_is_given_the_inbox_that_it_asks_for(tmp_path: Path) -> None:
    """In SQL with a job that forgets; what cannot be given is told when the service starts."""
    decorated = consumer("notifier", events=[OrderCreated])
    async with (
        store_in_process() as redis,
        open_database(f"sqlite:///{tmp_path}/inbox.db", tmp_path, timeout_seconds=1.0) as database,
    ):
        without = Worker(common=CommonSettings(), own=FunctionSettings(ops_port=1), redis=redis)
        worker = replace(without, database=database)
        in_store, in_database = inbox_of(decorated(in_redis), without), inbox_of(decorated(in_sql), worker)
        assert isinstance(in_store, RedisInbox)
        assert isinstance(in_database, SqlInbox)
        assert [len(jobs_of(inbox)) for inbox in (None, in_store, in_database)] == [0, 0, 1]
        for function, has in ((in_sql, without), (in_nothing, worker)):
            with pytest.raises(TypeError, match="its row of the map has no database"):
                inbox_of(decorated(function), has)
