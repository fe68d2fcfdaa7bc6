"""A mail server that has a letter and does not say what became of it: at most one more letter ever goes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from notifier import sending
from notifier.domain import notification_of
from notifier.ports import Attempt, Claimed
from notifier.senders.addressed import AddressedSender
from notifier.senders.log import LogSender
from notifier.unconfirmed import UnconfirmedLetters
from shared import keyspace
from shared.messages import OrderCreated
from shared.messaging.memory import MemoryBroker
from shared.messaging.settlement import message_of
from shared.pipeline import NOTIFIER, RETRY_TIERS_SECONDS
from shared.service.lifecycle import running
from tests.harness.examples import an_order, created
from tests.harness.mailing import mailing_to
from tests.harness.notifying import notification_handler, notification_store
from tests.harness.routing import Routing, routing
from tests.harness.smtp_sink import Fault, SmtpSink, smtp_sink
from tests.harness.stores import store_in_process
from tests.harness.waiting import wait_until

ANN, BOB = "ann@example.org", "bob@example.org"
ANSWER, ASK_AGAIN, CONFIRM = 0.15, 0.1, 0.6
"""In the place of ten seconds, thirty seconds and five minutes."""
NEVER = Fault(at="DATA", kept=True, hang=True, recipient=BOB)
HANGS_UP = Fault(at="DATA", kept=True, hang_up=True, recipient=BOB)
EVENT = "bob:order.created.v1"


@pytest.fixture
async def redis() -> AsyncIterator[Any]:
    """An empty store."""
    async with store_in_process() as client:
        yield client


@pytest.fixture
async def sink() -> AsyncIterator[SmtpSink]:
    """Where the letters arrive."""
    async with smtp_sink() as serving:
        yield serving


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event of an unconfirmed letter comes back soon."""
    monkeypatch.setattr(sending, "ASK_AGAIN_SECONDS", ASK_AGAIN)


@asynccontextmanager
async def notifying(
    broker: MemoryBroker, redis: Any, sink: SmtpSink, *, limit: int = 20, confirm_seconds: float = CONFIRM
) -> AsyncIterator[Routing]:
    """One life of a notifier."""
    store = notification_store(redis, lease_seconds=0.6, confirm_seconds=confirm_seconds)
    mail = mailing_to(sink, confirm_seconds=confirm_seconds)
    unconfirmed = UnconfirmedLetters(store, limit=limit)
    handler = notification_handler(
        store,
        AddressedSender(mail.sender, otherwise=LogSender()),
        unconfirmed=unconfirmed,
        lease_seconds=0.6,
        answer_seconds=ANSWER,
    )
    async with (
        running(mail.connections.run(), unconfirmed.run()),
        routing(broker, handler, consumption=NOTIFIER, kind=OrderCreated, listener=store) as life,
    ):
        yield life


async def announce(broker: MemoryBroker, email: str, *order_ids: str) -> None:
    """Publishes that these orders are confirmed."""
    for order_id in order_ids:
        await broker.publish(message_of(created(an_order(order_id, email=email))))


def parked(broker: MemoryBroker) -> int:
    """Events that wait in a retry tier."""
    return sum(broker.depth(NOTIFIER.retry_queue(tier)) for tier in RETRY_TIERS_SECONDS)


def is_still(broker: MemoryBroker) -> bool:
    """Whether no event waits or is at work."""
    return not parked(broker) + broker.depth(NOTIFIER.queue) + broker.unacked(NOTIFIER.queue)


async def record(redis: Any, order_id: str = "bob") -> tuple[str | None, str | None]:
    """The status, and how many letters are unconfirmed."""
    status, unconfirmed = await redis.hmget(keyspace.notifications(order_id), "status", "unconfirmed")
    return status, unconfirmed


async def test_a_late_answer_settles_the_one_letter(redis: Any, sink: SmtpSink) -> None:
    """It is recorded as unconfirmed, its event is acked and parked until then, and other letters go on."""
    broker, is_answered = MemoryBroker(), asyncio.Event()
    await announce(broker, BOB, "bob")
    await announce(broker, ANN, "ann1", "ann2")
    with sink.fault(Fault(at="DATA", kept=True, until=is_answered, recipient=BOB)):
        async with notifying(broker, redis, sink, confirm_seconds=30.0):
            await wait_until(lambda: parked(broker) == 1 and not broker.unacked(NOTIFIER.queue))
            assert await record(redis) == ("sending", "1")
            noted = await redis.hmget(keyspace.notifications("bob"), "message_id", "unconfirmed_at")
            assert noted[0] == "<bob/order.created.v1@shop.example>"
            assert int(noted[1]) > 0
            assert set(sink.told) == {EVENT, "ann1:order.created.v1", "ann2:order.created.v1"}
            is_answered.set()
            await wait_until(lambda: is_still(broker), what="the answer to be found")
    assert await record(redis) == ("sent", None)
    assert sink.told[EVENT] == 1


@pytest.mark.parametrize("fault", [NEVER, HANGS_UP], ids=["never answers", "hangs up"])
async def test_without_an_answer_one_more_letter_goes_and_no_third(
    redis: Any, sink: SmtpSink, fault: Fault
) -> None:
    """The notification ends as sent, unconfirmed; asking again sends nothing."""
    broker = MemoryBroker()
    await announce(broker, BOB, "bob")
    with sink.fault(fault):
        async with notifying(broker, redis, sink):
            await wait_until(lambda: sink.told[EVENT] == 2, what="the second letter")
            await wait_until(lambda: is_still(broker), what="the event to be settled")
            assert await record(redis) == ("sent", "2")
            await announce(broker, BOB, "bob")
            await wait_until(lambda: is_still(broker), what="the event to be known")
    assert sink.told == {EVENT: 2}
    assert broker.depth(NOTIFIER.dead_queue) == 0
    assert await redis.get(keyspace.notification_claim(EVENT)) == "sent:unconfirmed"


@pytest.mark.parametrize("fault", [NEVER, HANGS_UP], ids=["never answers", "hangs up"])
async def test_a_second_letter_that_is_answered_confirms_the_notification(
    redis: Any, sink: SmtpSink, fault: Fault
) -> None:
    """Nothing is unknown any more."""
    broker = MemoryBroker()
    await announce(broker, BOB, "bob")
    async with notifying(broker, redis, sink):
        with sink.fault(fault):
            await wait_until(lambda: parked(broker) == 1, what="the event to be parked")
            assert await record(redis) == ("sending", "1")
        await wait_until(lambda: is_still(broker), what="the event to be settled")
    assert await record(redis) == ("sent", None)
    assert sink.told == {EVENT: 2}


@pytest.mark.parametrize("delay", [0.0, 2 * ANSWER], ids=["at once", "late"])
@pytest.mark.parametrize(
    ("answer", "ends_as", "letters"),
    [("421 4.3.2 shutting down", "sent", 1), ("451 4.3.0 later", "sent", 1), ("554 5.6.0 no", "failed", 0)],
)
async def test_a_refusal_after_the_dot_is_no_unknown_outcome(
    redis: Any, sink: SmtpSink, answer: str, ends_as: str, letters: int, delay: float
) -> None:
    """However late it comes: the letter goes on its usual way, to a retry or into the dead letters."""
    broker = MemoryBroker()
    await announce(broker, BOB, "bob")
    times = None if ends_as == "failed" else 1
    with sink.fault(Fault(at="DATA", answer=answer, delay_seconds=delay, recipient=BOB, times=times)):
        async with notifying(broker, redis, sink, confirm_seconds=30.0):

            async def has_ended() -> bool:
                return (await record(redis))[0] == ends_as

            await wait_until(has_ended, what="the fate of the letter")
    assert await record(redis) == (ends_as, None)
    assert sink.told[EVENT] == letters


async def test_a_drain_does_not_wait_for_an_answer(redis: Any, sink: SmtpSink) -> None:
    """The next notifier waits until no answer can come, then sends the one more letter."""
    broker = MemoryBroker()
    await announce(broker, BOB, "bob")
    with sink.fault(NEVER):
        async with notifying(broker, redis, sink, confirm_seconds=2.0) as life:
            await wait_until(lambda: parked(broker) == 1, what="the event to be parked")
            await asyncio.wait_for(life.end(), 1.0)
    await wait_until(lambda: sink.open_connections == 0, what="the letter's connection to be closed")
    async with notifying(broker, redis, sink):
        await wait_until(lambda: parked(broker) == 1, what="the event to be parked again")
        assert sink.told == {EVENT: 1}
        await wait_until(lambda: is_still(broker), what="the event to be settled")
    assert sink.told == {EVENT: 2}
    assert await record(redis) == ("sent", None)


async def test_a_letter_in_hand_when_the_drain_is_out_of_time_is_recorded(redis: Any, sink: SmtpSink) -> None:
    """It is as unknown as one that was waited for longer, so one more may go and no third."""
    broker = MemoryBroker()
    await announce(broker, BOB, "bob")
    store = notification_store(redis, confirm_seconds=CONFIRM)
    handler = notification_handler(store, mailing_to(sink).sender, answer_seconds=60.0)
    with sink.fault(NEVER):
        async with routing(broker, handler, consumption=NOTIFIER, kind=OrderCreated) as life:
            await wait_until(lambda: sink.hanging == 1, what="the letter to be under way")
            life.task.cancel()
            await asyncio.gather(life.task, return_exceptions=True)
        assert await record(redis) == ("sending", "1")
        async with notifying(broker, redis, sink):
            await wait_until(lambda: is_still(broker), what="the event to be settled")
    assert (sink.told[EVENT], await record(redis)) == (2, ("sent", "2"))


async def test_a_redrive_sends_no_third_letter(redis: Any, sink: SmtpSink) -> None:
    """The second was refused and dead-lettered; what is sent back may send one more that is not answered."""
    broker = MemoryBroker()
    await announce(broker, BOB, "bob")
    async with notifying(broker, redis, sink):
        with sink.fault(HANGS_UP):
            await wait_until(lambda: parked(broker) == 1, what="the event to be parked")
        with sink.fault(Fault(at="RCPT", answer="550 5.1.1 no such user", recipient=BOB)):
            await wait_until(lambda: broker.depth(NOTIFIER.dead_queue) == 1, what="a dead letter")
        assert await record(redis) == ("failed", "1")
        with sink.fault(HANGS_UP):
            for _ in range(2):
                await announce(broker, BOB, "bob")
                await wait_until(lambda: is_still(broker), what="the redriven event to be settled")
    assert (sink.told[EVENT], await record(redis)) == (2, ("sent", "2"))


async def test_a_crash_with_the_second_letter_on_its_way_sends_no_third(redis: Any, sink: SmtpSink) -> None:
    """It is noted before it goes, and what happened to it is never known."""
    broker, confirm_seconds = MemoryBroker(), 0.1
    await announce(broker, BOB, "bob")
    with sink.fault(HANGS_UP):
        async with notifying(broker, redis, sink, confirm_seconds=confirm_seconds):
            await wait_until(lambda: parked(broker) == 1, what="the event to be parked")
    store = notification_store(redis, confirm_seconds=confirm_seconds, lease_seconds=0.3)
    event = created(an_order("bob", email=BOB))
    attempt = Attempt(notification=notification_of(event), owner="crashed", channel="smtp")

    async def claimed() -> bool:
        return isinstance((await store.claim([attempt]))[0], Claimed)

    await wait_until(claimed, what="the first letter's time to be over")
    assert await store.begin_last([attempt])
    async with notifying(broker, redis, sink):
        await wait_until(lambda: is_still(broker), what="the event to be settled")
    assert (sink.told[EVENT], await record(redis)) == (1, ("sent", "1"))


async def test_a_second_letter_that_a_drain_kept_from_going_may_go_yet(redis: Any, sink: SmtpSink) -> None:
    """It was noted as the last before it went, and did not go."""
    broker = MemoryBroker()
    await announce(broker, BOB, "bob")
    with sink.fault(HANGS_UP):
        async with notifying(broker, redis, sink):
            await wait_until(lambda: parked(broker) == 1, what="the event to be parked")
    with sink.fault(Fault(at="RCPT", hang=True, recipient=BOB)):
        async with notifying(broker, redis, sink) as life:
            await wait_until(lambda: sink.hanging == 1, what="the second letter to be begun")
            assert str(await redis.get(keyspace.notification_claim(EVENT))).startswith("unconfirmed:2:")
            life.task.cancel()
            await asyncio.gather(life.task, return_exceptions=True)
    async with notifying(broker, redis, sink):
        await wait_until(lambda: is_still(broker), what="the event to be settled")
    assert (sink.told[EVENT], await record(redis)) == (2, ("sent", None))


async def test_unanswered_letters_are_bounded(redis: Any, sink: SmtpSink) -> None:
    """Beyond the bound the consumer waits, with the letter that it has sent recorded all the same."""
    broker = MemoryBroker()
    await announce(broker, BOB, "bob1", "bob2", "bob3")
    with sink.fault(NEVER):
        async with notifying(broker, redis, sink, limit=1, confirm_seconds=30.0):

            async def second_is_recorded() -> bool:
                return await record(redis, "bob2") == ("sending", "1")

            await wait_until(second_is_recorded, what="the second letter to be recorded")
            assert await record(redis, "bob3") == ("sending", None)
            assert len(sink.letters) == 2
            sink.drop()
            await wait_until(lambda: len(sink.letters) == 3, what="room for the third letter")
