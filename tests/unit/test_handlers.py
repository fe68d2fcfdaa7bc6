"""What the processor and the notifier do with a batch, and with the same batch once more."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from fakeredis import FakeServer

from notifier.domain import MOST_UNMARKED, Notification
from notifier.handlers import NotificationHandler
from notifier.ports import Attempt, Claim
from notifier.store import RedisNotificationStore
from order_processor.handlers import OrderPlacedHandler
from shared import keyspace
from shared.errors import PermanentError, RetryableError, StoreUnavailable
from shared.messages import Event, EventData
from shared.messaging.handlers import Incoming
from shared.messaging.retry import Dead, Done, History, Outcome, Retry
from shared.orders.redis.decisions import RedisDecisionStore
from tests.harness.examples import an_order, created, placed
from tests.harness.notifying import notification_handler, notification_store
from tests.harness.stores import store_in_process
from tests.harness.waiting import wait_until

A_CENTURY = 100 * 365 * 86_400.0
LEASE = 15.0


@pytest.fixture
def server() -> FakeServer:
    """A store that a test can cut off."""
    return FakeServer()


@pytest.fixture
async def redis(server: FakeServer) -> AsyncIterator[Any]:
    """A client of that store."""
    async with store_in_process(server) as client:
        yield client


def incoming(*events: Event[Any]) -> list[Incoming]:
    """Events that have never failed."""
    return [Incoming(event=event, history=History()) for event in events]


# --- order_processor ------------------------------------------------------------


@pytest.fixture
def deciding(redis: Any) -> OrderPlacedHandler:
    """The processor's handler over the real script."""
    return OrderPlacedHandler(
        RedisDecisionStore(redis, timeout_seconds=5.0, oldest_recreated_seconds=A_CENTURY)
    )


def announced(outcomes: Sequence[Outcome]) -> list[str]:
    """The ids of the events that outcomes ask for; the reason where there is none."""
    return [
        ",".join(event.id for event in outcome.events) if isinstance(outcome, Done) else outcome.reason
        for outcome in outcomes
    ]


async def test_each_order_is_announced_as_it_was_decided(redis: Any, deciding: OrderPlacedHandler) -> None:
    """One outcome per message, in the order of the batch."""
    await redis.set("inventory:cable", 3)
    await redis.set("inventory:case", "many")
    events = [placed(an_order("a", cable=2)), placed(an_order("b", cable=2)), placed(an_order("c", case=1))]
    outcomes = await deciding(incoming(*events))
    assert announced(outcomes) == ["a:order.created.v1", "b:order.rejected.v1", "broken_stock"]
    assert isinstance(outcomes[2], Dead)
    assert "case" in outcomes[2].error


async def test_a_batch_that_is_handled_again_announces_the_same_events(
    redis: Any, deciding: OrderPlacedHandler
) -> None:
    """A crash before the ack changes nothing that anybody could see, the time included."""
    await redis.set("inventory:cable", 3)
    batch = incoming(placed(an_order("a", cable=2)), placed(an_order("b", cable=2)))
    first = await deciding(batch)
    assert await deciding(batch) == first
    assert await redis.get("inventory:cable") == "1"


async def test_an_event_goes_on_under_the_trace_of_its_order(
    redis: Any, deciding: OrderPlacedHandler
) -> None:
    """One correlation id leads from the request to the notification."""
    event = placed(an_order("a"))
    (outcome,) = await deciding(incoming(event))
    assert isinstance(outcome, Done)
    assert [announcement.trace for announcement in outcome.events] == [event.trace]


async def test_what_follows_from_a_replay_is_one(redis: Any, deciding: OrderPlacedHandler) -> None:
    """It decides nothing anew, and announces the decision that there is under its id, with the mark."""
    await redis.set("inventory:cable", 3)
    event = placed(an_order("a"))
    (first,) = await deciding(incoming(event))
    (again,) = await deciding(incoming(replace(event, is_replay=True)))
    assert isinstance(first, Done)
    assert again == Done(events=tuple(replace(each, is_replay=True) for each in first.events))
    assert await redis.get("inventory:cable") == "2"


async def test_without_the_store_nothing_is_decided(server: FakeServer, deciding: OrderPlacedHandler) -> None:
    """The router waits it out; no order is at fault."""
    server.connected = False
    with pytest.raises(StoreUnavailable):
        await deciding(incoming(placed(an_order("a"))))


# --- notifier ------------------------------------------------------------


@dataclass(slots=True)
class Customers:
    """A sender that keeps what it was given, and does what a test says first."""

    told: list[str] = field(default_factory=list)
    first: Callable[[Notification], None] = lambda _: None
    channel: str = "smtp"

    def channel_for(self, notification: Notification) -> str:
        return self.channel

    async def send(self, notification: Notification) -> None:
        self.first(notification)
        self.told.append(notification.order_id)

    async def flush(self) -> None:
        """Nothing waits to be written."""


def raising(errors: dict[str, Exception]) -> Callable[[Notification], None]:
    """Raises what belongs to an order, the first time that it is sent."""

    def first(notification: Notification) -> None:
        error = errors.pop(notification.order_id, None)
        if error is not None:
            raise error

    return first


def notifying(redis: Any, customers: Customers, *, lease_seconds: float = LEASE) -> NotificationHandler:
    """The notifier's handler over the real scripts."""
    return notification_handler(
        notification_store(redis), customers, sends_at_once=4, lease_seconds=lease_seconds
    )


def creations(*order_ids: str) -> list[Event[EventData]]:
    """The creation of these orders."""
    return [created(an_order(order_id)) for order_id in order_ids]


async def test_each_event_is_told_once_however_often_it_comes(redis: Any) -> None:
    """A redelivery, and a second notifier, find that it was sent."""
    customers = Customers()
    batch = incoming(*creations("a", "b"))
    for _ in range(3):
        assert list(await notifying(redis, customers)(batch)) == [Done(), Done()]
    assert sorted(customers.told) == ["a", "b"]
    assert await redis.hget("notifications:a", "status") == "sent"


async def test_the_same_event_twice_in_a_batch_is_told_once(redis: Any) -> None:
    """The second copy waits for the first one's lease, for free, and then finds that it was sent."""
    customers = Customers()
    (event,) = creations("a")
    first, second = await notifying(redis, customers)(incoming(event, event))
    assert first == Done()
    assert isinstance(second, Retry)
    assert customers.told == ["a"]


async def test_what_another_is_sending_comes_back_when_the_lease_ends(redis: Any) -> None:
    """The wait is known, so it costs no attempt."""
    await redis.set(keyspace.notification_claim("a:order.created.v1"), "sending:another", px=7000)
    customers = Customers()
    (outcome,) = await notifying(redis, customers)(incoming(*creations("a")))
    assert isinstance(outcome, Retry)
    assert outcome.reason == "claimed_elsewhere"
    assert outcome.delay_seconds is not None
    assert 0 < outcome.delay_seconds <= 7.0
    assert customers.told == []


async def test_what_may_succeed_later_is_released_and_retried(redis: Any) -> None:
    """The next attempt need not wait for the lease of the one that failed."""
    customers = Customers(first=raising({"a": RetryableError("mailbox busy")}))
    handler, batch = notifying(redis, customers), incoming(*creations("a", "b"))
    assert list(await handler(batch)) == [Retry(reason="send_failed", error="mailbox busy"), Done()]
    assert list(await handler(batch)) == [Done(), Done()]
    assert sorted(customers.told) == ["a", "b"]
    assert await redis.hget("notifications:a", "attempts") == "2"


async def test_what_can_never_succeed_is_dead(redis: Any) -> None:
    """Its neighbours are told."""
    customers = Customers(first=raising({"a": PermanentError("no such mailbox")}))
    outcomes = await notifying(redis, customers)(incoming(*creations("a", "b")))
    assert list(outcomes) == [Dead(reason="undeliverable", error="no such mailbox"), Done()]


async def test_a_mark_is_repeated_while_the_store_is_away_and_nothing_is_sent_again(
    redis: Any, server: FakeServer
) -> None:
    """Once the customer has been told, all that remains is to remember it."""

    def cut_off(_: Notification) -> None:
        server.connected = False

    customers = Customers(first=cut_off)
    handling = asyncio.ensure_future(notifying(redis, customers)(incoming(*creations("a"))))
    await wait_until(lambda: customers.told == ["a"])
    done, _ = await asyncio.wait({handling}, timeout=0.05)
    assert not done
    server.connected = True
    assert list(await handling) == [Done()]
    assert customers.told == ["a"]
    assert await redis.get(keyspace.notification_claim("a:order.created.v1")) == "sent"


async def test_without_the_store_nothing_is_sent(redis: Any, server: FakeServer) -> None:
    """Nobody is told twice because the claim could not be asked for; all are told once it can."""
    customers = Customers()
    server.connected = False
    handling = asyncio.ensure_future(notifying(redis, customers)(incoming(*creations("a"))))
    done, _ = await asyncio.wait({handling}, timeout=0.05)
    assert not done
    assert customers.told == []
    server.connected = True
    assert list(await handling) == [Done()]
    assert customers.told == ["a"]


async def test_a_claim_that_was_granted_unheard_delays_nobody(
    redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen store carries out later what nobody waits for any more; the attempt that asked owns it."""
    granted = RedisNotificationStore.claim

    async def unheard(self: RedisNotificationStore, attempts: Sequence[Attempt]) -> Sequence[Claim]:
        await granted(self, attempts)
        monkeypatch.undo()
        raise StoreUnavailable("Redis did not answer")

    monkeypatch.setattr(RedisNotificationStore, "claim", unheard)
    customers = Customers()
    outcomes = await notifying(redis, customers)(incoming(*creations("a", "b")))
    assert list(outcomes) == [Done(), Done()]
    assert sorted(customers.told) == ["a", "b"]
    assert await redis.hget("notifications:a", "attempts") == "1"


@pytest.mark.parametrize("channel", MOST_UNMARKED)
async def test_a_message_that_cannot_be_marked_holds_up_none_of_its_batch(
    redis: Any, monkeypatch: pytest.MonkeyPatch, channel: str
) -> None:
    """Nothing more is begun, and what was not is given back: run alone, each is told at once, and once."""
    mark = RedisNotificationStore.mark_sent

    async def refusing(self: RedisNotificationStore, attempts: Sequence[Attempt]) -> None:
        await mark(self, [each for each in attempts if each.notification.order_id != "b"])
        if "b" in [each.notification.order_id for each in attempts]:
            raise PermanentError("the notification's record is broken")

    monkeypatch.setattr(RedisNotificationStore, "mark_sent", refusing)
    customers = Customers(channel=channel)
    handler, events = notifying(redis, customers), creations(*"abcdefghijkl")
    with pytest.raises(PermanentError):
        await handler(incoming(*events))
    assert len(customers.told) < len(events)
    for event in events:
        if event.subject != "b":
            assert list(await handler(incoming(event))) == [Done()]
    assert sorted(customers.told) == [*"abcdefghijkl"]


@dataclass(slots=True)
class Drained:
    """A handler whose store is watched, cancelled in the middle of a batch by a drain that is out of time."""

    handling: "asyncio.Future[Sequence[Outcome]]"
    claimed: list[int]
    may_answer: asyncio.Event

    async def ends(self) -> None:
        """The drain gives up; only then do sender and store go on."""
        self.handling.cancel()
        await asyncio.sleep(0)
        self.may_answer.set()
        with pytest.raises(asyncio.CancelledError):
            await self.handling


def draining(redis: Any, monkeypatch: pytest.MonkeyPatch, customers: Customers, *, stuck: str) -> Drained:
    """Eight messages whose leases are too short to wait in, and the ``stuck`` part of the way waits."""
    may_answer, claimed = asyncio.Event(), list[int]()
    claim, send = RedisNotificationStore.claim, Customers.send

    async def counted(self: RedisNotificationStore, attempts: Sequence[Attempt]) -> Sequence[Claim]:
        claimed.append(len(attempts))
        if stuck == "store" and len(claimed) > 1:
            await may_answer.wait()
        return await claim(self, attempts)

    async def held(self: Customers, notification: Notification) -> None:
        if stuck == "sender":
            await may_answer.wait()
        await send(self, notification)

    monkeypatch.setattr(RedisNotificationStore, "claim", counted)
    monkeypatch.setattr(Customers, "send", held)
    handler = notifying(redis, customers, lease_seconds=4 * LEASE)
    handling = asyncio.ensure_future(handler(incoming(*creations(*"abcdefgh"))))
    return Drained(handling, claimed, may_answer)


async def test_a_batch_that_is_given_up_takes_no_lease_again(
    redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not begun is delivered again, and whoever gets it need not wait for a lease of the dead."""
    customers = Customers()
    drained = draining(redis, monkeypatch, customers, stuck="sender")
    await wait_until(lambda: len(drained.claimed) == 1 + 4, what="as many leases as are sent at once")
    await drained.ends()
    assert sorted(customers.told) == [*"abcd"]
    assert drained.claimed == [8, 1, 1, 1, 1]


async def test_a_batch_that_is_given_up_begins_no_sending(
    redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waited for a lease gets it too late: a sending begun now might be cut off in the middle."""
    customers = Customers()
    drained = draining(redis, monkeypatch, customers, stuck="store")
    await wait_until(lambda: len(drained.claimed) == 1 + 4, what="as many to wait for leases")
    await drained.ends()
    assert customers.told == []
