"""While nobody can be mailed, nobody's messages are spent; one recipient's trouble holds nobody up."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

import pytest

from notifier import handlers
from notifier.domain import Notification
from notifier.handlers import NotificationHandler
from notifier.ports import AlreadySent, Attempt, Claim, Claimed, HeldByAnother
from notifier.senders.addressed import AddressedSender
from notifier.senders.log import LogSender
from notifier.store import RedisNotificationStore
from shared import keyspace
from shared.errors import PermanentError, RetryableError, SenderUnavailable
from shared.messages import OrderCreated
from shared.messaging.handlers import Incoming
from shared.messaging.memory import MemoryBroker
from shared.messaging.retry import Dead, Done, History, Retry
from shared.messaging.settlement import message_of
from shared.pipeline import NOTIFIER, RETRY_TIERS_SECONDS
from shared.redis.client import Redis
from tests.harness.examples import an_order, created
from tests.harness.mailing import mailing_to
from tests.harness.notifying import notification_handler, notification_store
from tests.harness.routing import Routing, routing
from tests.harness.smtp_sink import Fault, SmtpSink, smtp_sink
from tests.harness.stores import store_in_process
from tests.harness.waiting import wait_until

ANN, BOB = "ann@example.org", "bob@example.org"


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    """An empty store."""
    async with store_in_process() as client:
        yield client


@pytest.fixture
def store(redis: Redis) -> RedisNotificationStore:
    """The real records and scripts."""
    return notification_store(redis, lease_seconds=60.0)


@pytest.fixture
async def sink() -> AsyncIterator[SmtpSink]:
    """Where the letters arrive."""
    async with smtp_sink() as serving:
        yield serving


def notifying(
    broker: MemoryBroker, store: RedisNotificationStore, sink: SmtpSink, *, step_seconds: float = 20.0
) -> AbstractAsyncContextManager[Routing]:
    """The notifier over the broker in memory and the real mail sender."""
    mail = mailing_to(sink, step_seconds=step_seconds).sender
    handler = notification_handler(store, AddressedSender(mail, otherwise=LogSender()), sends_at_once=2)
    return routing(broker, handler, consumption=NOTIFIER, kind=OrderCreated)


async def announce(broker: MemoryBroker, email: str | None, *order_ids: str) -> None:
    """Publishes that these orders are confirmed."""
    for order_id in order_ids:
        await broker.publish(message_of(created(an_order(order_id, email=email))))


def retried(broker: MemoryBroker) -> int:
    """Messages in any retry tier or the dead-letter queue."""
    queues = [NOTIFIER.retry_queue(tier) for tier in RETRY_TIERS_SECONDS] + [NOTIFIER.dead_queue]
    return sum(broker.depth(queue) for queue in queues)


async def records(redis: Redis, *order_ids: str) -> list[tuple[str, ...]]:
    """Status, channel and attempts of each order's notification."""
    fields = ("status", "channel", "attempts")
    found = [await redis.hmget(keyspace.notifications(order_id), fields) for order_id in order_ids]
    return [tuple(map(str, values)) for values in found]


async def test_an_outage_is_waited_out(store: RedisNotificationStore, sink: SmtpSink, redis: Redis) -> None:
    """Messages stay unacked, none climbs the ladder, no attempt is counted, and all arrive once."""
    broker, order_ids = MemoryBroker(), [f"order{n}" for n in range(20)]
    await sink.shut()
    await announce(broker, ANN, *order_ids)
    async with notifying(broker, store, sink):

        async def tried() -> bool:
            return await redis.hget(keyspace.notifications("order0"), "last_error") is not None

        await wait_until(tried, what="the outage to be noticed")
        assert (broker.unacked(NOTIFIER.queue), retried(broker)) == (20, 0)
        await sink.open()
        await wait_until(lambda: broker.unacked(NOTIFIER.queue) == 0, what="everything to be settled")
    assert sink.told == {f"{order_id}:order.created.v1": 1 for order_id in order_ids}
    assert await records(redis, *order_ids) == [("sent", "smtp", "1")] * 20
    assert retried(broker) == 0


async def test_each_record_names_the_way_that_was_taken(
    store: RedisNotificationStore, sink: SmtpSink, redis: Redis
) -> None:
    """Orders without an address are told in the log, and say so."""
    broker = MemoryBroker()
    await announce(broker, ANN, "with")
    await announce(broker, None, "without")
    async with notifying(broker, store, sink):
        await wait_until(lambda: broker.depth(NOTIFIER.queue) + broker.unacked(NOTIFIER.queue) == 0)
    assert await records(redis, "with", "without") == [("sent", "smtp", "1"), ("sent", "log", "1")]
    assert len(sink.letters) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault(at="RCPT", hang=True, recipient=BOB),
        Fault(at="RCPT", hang_up=True, recipient=BOB),
        Fault(at="RCPT", answer="421 4.7.0 not him", recipient=BOB),
        Fault(at="RCPT", answer="450 4.2.0 greylisted", recipient=BOB),
    ],
    ids=["hangs", "hangs up", "421", "450"],
)
async def test_one_recipients_trouble_is_not_taken_for_an_outage(
    store: RedisNotificationStore, sink: SmtpSink, redis: Redis, fault: Fault
) -> None:
    """His message waits in its tier; everybody else has their letter."""
    broker = MemoryBroker()
    await announce(broker, BOB, "bob")
    await announce(broker, ANN, "ann1", "ann2", "ann3")
    with sink.fault(fault):
        async with notifying(broker, store, sink, step_seconds=1.0) as running:
            await wait_until(lambda: running.metrics.outcomes["done"] == 3, what="the others to be told")
            await wait_until(lambda: running.metrics.outcomes["retried"] > 0, what="his message to be moved")
    assert set(sink.told) == {f"ann{n}:order.created.v1" for n in (1, 2, 3)}
    ((status, _, attempts),) = await records(redis, "bob")
    assert (status, int(attempts) >= 1) == ("sending", True)


# --- the handler alone ------------------------------------------------------------------------------------


@dataclass(slots=True)
class PlayedSender:
    """Sends, or raises what is in store for the order."""

    faults: dict[str, Exception] = field(default_factory=dict)
    tried: list[str] = field(default_factory=list)

    def channel_for(self, notification: Notification) -> str:
        return "played"

    async def send(self, notification: Notification) -> None:
        self.tried.append(notification.order_id)
        await asyncio.sleep(0)
        if fault := self.faults.get(notification.order_id):
            raise fault

    async def flush(self) -> None:
        """Nothing waits to be written."""


def handling(store: object, sender: PlayedSender) -> NotificationHandler:
    """A handler that sends one at a time."""
    return notification_handler(store, sender)  # type: ignore[arg-type]  # a test's store has what is asked of it


def batch(*order_ids: str) -> list[Incoming]:
    """Events about these orders."""
    return [Incoming(event=created(an_order(each)), history=History()) for each in order_ids]


async def test_what_went_out_before_an_outage_is_not_sent_again(
    store: RedisNotificationStore, redis: Redis
) -> None:
    """The batch runs again as a whole, and only the rest of it is sent."""
    away = SenderUnavailable("away")
    sender = PlayedSender(
        faults={"c": away, "b": PermanentError("no such user"), "x": RetryableError("later")}
    )
    handler = handling(store, sender)
    with pytest.raises(SenderUnavailable):
        await handler(batch("a", "b", "x", "c", "d"))
    assert sender.tried == ["a", "b", "x", "c"]
    assert await records(redis, *"abxcd") == [
        ("sent", "played", "1"),
        ("sending", "played", "1"),
        ("sending", "played", "1"),
        ("sending", "played", "0"),
        ("sending", "played", "0"),
    ]
    del sender.faults["c"]
    outcomes = await handler(batch("a", "b", "x", "c", "d"))
    assert [type(outcome) for outcome in outcomes] == [Done, Dead, Retry, Done, Done]
    assert sender.tried == ["a", "b", "x", "c", "b", "x", "c", "d"]


@dataclass(slots=True)
class SlowSender(PlayedSender):
    """Takes a letter at once and says so when it is let."""

    taken: asyncio.Event = field(default_factory=asyncio.Event)
    let: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, notification: Notification) -> None:
        self.tried.append(notification.order_id)
        self.taken.set()
        await self.let.wait()


async def test_a_letter_in_hand_when_the_drain_is_out_of_time_is_marked(
    store: RedisNotificationStore, redis: Redis
) -> None:
    """Measured: the mail server had taken it, nobody had noted that, and the customer was told twice."""
    sender = SlowSender()
    handling_them = asyncio.ensure_future(handling(store, sender)(batch("a", "b")))
    await sender.taken.wait()
    handling_them.cancel()
    sender.let.set()
    with pytest.raises(asyncio.CancelledError):
        await handling_them
    assert sender.tried == ["a"]
    assert await records(redis, "a", "b") == [("sent", "played", "1"), ("sending", "played", "1")]


async def test_a_mail_server_that_never_answers_does_not_hold_a_drain_up(
    store: RedisNotificationStore, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether that customer was told is unknown, and the letter goes out again."""
    monkeypatch.setattr(handlers, "LETTER_IN_HAND_SECONDS", 0.01)
    sender = SlowSender()
    handling_them = asyncio.ensure_future(handling(store, sender)(batch("a")))
    await sender.taken.wait()
    handling_them.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(handling_them, 5.0)
    assert await records(redis, "a") == [("sending", "played", "1")]


async def test_a_fault_of_the_sender_is_one_messages_fate(store: RedisNotificationStore) -> None:
    """Its neighbours have been sent, and must not be sent again because of it."""
    sender = PlayedSender(faults={"b": KeyError("a bug")})
    outcomes = await handling(store, sender)(batch("a", "b", "c"))
    assert [type(outcome) for outcome in outcomes] == [Done, Retry, Done]
    assert sender.tried == ["a", "b", "c"]


async def test_a_broken_record_is_one_messages_fate(store: RedisNotificationStore, redis: Redis) -> None:
    """Whoever wrote into it by hand has not stopped its neighbours, nor made them wait for a lease."""
    await redis.set(keyspace.notifications("b"), "by hand")
    sender = PlayedSender()
    outcomes = await handling(store, sender)(batch("a", "b", "c"))
    assert [type(outcome) for outcome in outcomes] == [Done, Dead, Done]
    assert sender.tried == ["a", "c"]


@dataclass(slots=True)
class LapsingStore:
    """Claims that end at once; what a second claim finds is the test's choice."""

    second: Claim
    claims: int = 0
    sent: list[str] = field(default_factory=list)

    async def claim(self, attempts: Sequence[Attempt]) -> Sequence[Claim]:
        self.claims += 1
        first = Claimed(attempts=1, until=0.0)
        return [first if self.claims == 1 else self.second for _ in attempts]

    async def mark_sent(self, attempts: Sequence[Attempt]) -> None:
        self.sent += [attempt.notification.order_id for attempt in attempts]


@pytest.mark.parametrize(
    ("second", "outcome", "tried"),
    [
        (Claimed(attempts=1, until=float("inf")), Done(), ["a"]),
        (AlreadySent(), Done(), []),
        (HeldByAnother(seconds=3.0), Retry(reason="claimed_elsewhere", delay_seconds=3.0), []),
    ],
    ids=["still ours", "sent by another", "held by another"],
)
async def test_a_lease_that_may_end_during_the_sending_is_taken_again(
    second: Claim, outcome: Done | Retry, tried: list[str]
) -> None:
    """A message whose turn comes late is not sent beside somebody who has claimed it since."""
    store, sender = LapsingStore(second), PlayedSender()
    assert await handling(store, sender)(batch("a")) == [outcome]
    assert (store.claims, sender.tried, store.sent) == (2, tried, tried)
