"""What a replay tells is what was told: from the log, the records and the ledger."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ledger.reading import LedgerReader
from orderctl.errors import OrderctlError
from orderctl.replay import history as reading, sending
from orderctl.replay.history import (
    HistoryPlace,
    LedgerNeededError,
    OrderHistory,
    WantedSteps,
    read_place,
    written_place,
)
from orderctl.replay.sending import OrderRecords, Replay, ReplayReport, SendingPace, steps_for
from shared import keyspace
from shared.messages import Event, EventData, decode, encode, epoch_microseconds
from shared.messaging.ports import OutgoingMessage
from shared.orders.decisions import Created, Rejected, event_of
from shared.orders.model import OrderStatus
from shared.orders.moves import move_event
from shared.orders.redis.log import OrderLog
from shared.pipeline import NOTIFIER, ORDER_PROCESSOR, Consumption
from shared.redis.client import Redis
from shared.sql.database import Database, open_database
from shared.sql.migrations import migrations_of
from tests.harness.decisions import decide_one, record_of, stocked, store_recreating
from tests.harness.examples import an_order
from tests.harness.ledger import A_CENTURY, SECONDS, Trial
from tests.harness.moving import moved
from tests.harness.stores import store_in_process

ORDERS = [an_order(name, email=f"{name}@example.com") for name in "abcd"]
MOVES = [("a", OrderStatus.PROCESSING), ("a", OrderStatus.SHIPPED), ("b", OrderStatus.CANCELLED)]


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    """An empty store."""
    async with store_in_process() as client:
        yield client


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """A ledger's database, with its tables; ``test_ledger_reading`` asks each kind for steps."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    async with open_database(url, migrations_of("ledger"), timeout_seconds=SECONDS) as opened:
        await opened.look()
        yield opened


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Histories of tests have several pages."""
    monkeypatch.setattr(reading, "LOG_STEPS", 3)
    monkeypatch.setattr(reading, "LEDGER_STEPS", 3)


class Recipient:
    """Takes messages to one queue; the link breaks after ``breaks_after`` of them."""

    def __init__(self, breaks_after: int = 1_000) -> None:
        self.events: list[Event[EventData]] = []
        self.queues: set[str] = set()
        self._left = breaks_after

    async def publish(self, message: OutgoingMessage) -> None:
        if not self._left:
            raise OrderctlError("the link is broken")
        self._left -= 1
        event = decode(message.body)
        assert isinstance(event, Event)
        assert message.exchange == ""
        self.queues.add(message.routing_key)
        self.events.append(event)


class World:
    """Orders a to d: three created, of which one is shipped and one was cancelled, and one rejected."""

    def __init__(self, redis: Redis, database: Database) -> None:
        self.redis: Any = redis
        self.trial = Trial(redis, database)
        self.ledger = LedgerReader(database)
        self.told: list[Event[EventData]] = []

    async def happen(self) -> None:
        """All of it, written down in the ledger too."""
        await stocked(self.redis, cable=3)
        await self.trial.accept(*ORDERS)
        for order in ORDERS:
            record = await record_of(self.redis, order.id)
            decision = await decide_one(store_recreating(self.redis, A_CENTURY), record.placed)
            assert isinstance(decision, Created | Rejected)
            self.told += [record.placed, event_of(order, decision, record.trace)]
        for order_id, to in MOVES:
            await moved(self.redis, order_id, to, reason="as asked")
            event = move_event(await record_of(self.redis, order_id), to)
            assert event is not None
            self.told.append(event)
        await self.trial.follower.follow()

    def originals(self, consumption: Consumption) -> list[str]:
        """What it was sent when it happened, byte for byte."""
        return sorted(encode(event).decode() for event in self.told if consumption.takes(event.type))

    async def replay(
        self,
        consumption: Consumption,
        recipient: Recipient | None,
        begin: HistoryPlace | None = None,
    ) -> ReplayReport:
        """Everything, or what is after ``begin``."""
        report = ReplayReport(place=begin)
        history = OrderHistory(OrderLog(self.redis, timeout_seconds=SECONDS), self.ledger)
        records = OrderRecords(self.redis, self.ledger, timeout_seconds=SECONDS)
        span = WantedSteps(types=steps_for(consumption))
        pages = history.pages(begin or await history.beginning(0), span)
        with contextlib.suppress(OrderctlError):
            await Replay(consumption, records, recipient, SendingPace(1e9)).run(pages, report, lambda: None)
        return report


@pytest.fixture
async def world(redis: Redis, database: Database) -> World:
    """In which all of it has happened."""
    found = World(redis, database)
    await found.happen()
    return found


def bytes_of(events: Sequence[Event[EventData]]) -> list[str]:
    """As they were before they were replayed; every one of them is marked."""
    assert all(event.is_replay for event in events)
    return sorted(encode(replace(event, is_replay=False)).decode() for event in events)


@pytest.mark.parametrize("consumption", [NOTIFIER, ORDER_PROCESSOR])
@pytest.mark.parametrize("is_trimmed", [False, True], ids=["log", "log and ledger"])
async def test_a_consumer_is_told_what_it_was_told_and_nothing_else(
    world: World, consumption: Consumption, is_trimmed: bool
) -> None:
    """Byte for byte but for the mark, to its own queue, whichever of the two remembers it."""
    if is_trimmed:
        await world.trial.trim_to_the_last()
    recipient = Recipient()
    report = await world.replay(consumption, recipient)
    assert bytes_of(recipient.events) == world.originals(consumption)
    assert recipient.queues == {consumption.queue}
    assert (report.sent.total(), report.lost, report.from_ledger) == (len(recipient.events), 0, 0)
    assert (await world.replay(consumption, None)).sent == report.sent


async def test_what_the_store_has_forgotten_comes_from_the_ledger(world: World) -> None:
    """With its id and time, and without what names a person; nothing of it is decided once more."""
    await world.redis.delete(*(keyspace.order(order.id) for order in ORDERS))
    recipient = Recipient()
    report = await world.replay(NOTIFIER, recipient)
    assert (report.from_ledger, report.lost) == (7, 0)
    originals = {event.id: event.time for event in world.told if NOTIFIER.takes(event.type)}
    assert {event.id: event.time for event in recipient.events} == originals
    assert {event.data.order.email for event in recipient.events} == {None}
    deciding = Recipient()
    assert (await world.replay(ORDER_PROCESSOR, deciding)).lost == len(ORDERS)
    assert deciding.events == []


@pytest.mark.parametrize("is_trimmed", [False, True], ids=["log", "log and ledger"])
async def test_an_id_that_was_given_again_is_not_mistaken(world: World, is_trimmed: bool) -> None:
    """Steps of the order that had it before are lost, and not told as the new one's."""
    await world.redis.delete(keyspace.order("a"), keyspace.claim("a"))
    await world.trial.accept(an_order("a", case=1))
    await world.trial.follower.follow()
    if is_trimmed:
        await world.trial.trim_to_the_last()
    recipient, deciding = Recipient(), Recipient()
    assert (await world.replay(NOTIFIER, recipient)).lost == 3
    assert {event.subject for event in recipient.events} == {"b", "c", "d"}
    assert (await world.replay(ORDER_PROCESSOR, deciding)).lost == 1
    assert [e.data.order.items[0].sku for e in deciding.events if e.subject == "a"] == ["case"]


@pytest.mark.parametrize("is_trimmed", [False, True], ids=["log", "log and ledger"])
async def test_a_replay_that_is_broken_off_goes_on_where_it_was(
    world: World, is_trimmed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After any number of events: all come, and none is missing, from the place that it named."""
    monkeypatch.setattr(sending, "AT_ONCE", 2)
    if is_trimmed:
        await world.redis.xtrim(keyspace.LOG, maxlen=5, approximate=False)
    everything = world.originals(NOTIFIER)
    for number in range(len(everything) + 1):
        first, second = Recipient(breaks_after=number), Recipient()
        report = await world.replay(NOTIFIER, first)
        place = None if report.place is None else read_place(written_place(report.place))
        await world.replay(NOTIFIER, second, place)
        assert set(bytes_of([*first.events, *second.events])) == set(everything)
        assert len(first.events) + len(second.events) <= len(everything) + 2


async def test_a_log_that_is_trimmed_meanwhile_loses_nothing(world: World) -> None:
    """What is gone from it when its turn comes is read from the ledger."""
    history = OrderHistory(OrderLog(world.redis, timeout_seconds=SECONDS), world.ledger)
    span = WantedSteps(types=steps_for(NOTIFIER))
    pages = history.pages(await history.beginning(0), span)
    steps = list((await anext(pages)).steps)
    await world.trial.trim_to_the_last()
    steps += [step async for page in pages for step in page.steps]
    assert len({(step.order_id, step.type) for step in steps}) == len(world.originals(NOTIFIER))


async def test_without_the_ledger_only_what_the_log_has_can_be_told(world: World) -> None:
    """It is said, and nothing is passed over in silence."""
    history = OrderHistory(OrderLog(world.redis, timeout_seconds=SECONDS), None)
    with pytest.raises(LedgerNeededError):
        await anext(history.pages(await history.beginning(0), WantedSteps(types=steps_for(NOTIFIER))))
    end = (await OrderLog(world.redis, timeout_seconds=SECONDS).latest(1))[0]
    pages = history.pages(read_place(end.id), WantedSteps(types=steps_for(NOTIFIER)))
    assert [page.steps async for page in pages] == [[]]


async def test_times_bound_what_is_told(world: World) -> None:
    """From the first on, and before the second."""
    history = OrderHistory(OrderLog(world.redis, timeout_seconds=SECONDS), world.ledger)
    decided = sorted(epoch_microseconds(event.time) for event in world.told if NOTIFIER.takes(event.type))
    span = WantedSteps(types=steps_for(NOTIFIER), since=decided[2], until=decided[4])
    pages = history.pages(await history.beginning(span.since), span)
    assert [step.at async for page in pages for step in page.steps] == decided[2:4]
