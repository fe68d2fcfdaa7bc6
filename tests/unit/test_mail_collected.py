"""One address gets a bounded number of letters an hour; the rest is collected, and nothing is lost by it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from notifier import collecting, sending
from notifier.batches import NotificationBatch
from notifier.domain import notification_of
from notifier.ports import Attempt, Claimed
from notifier.quota import RedisLetterQuota
from shared import keyspace
from shared.messages import OrderCreated
from shared.messaging.memory import MemoryBroker
from shared.messaging.retry import Retry
from shared.messaging.settlement import message_of
from shared.pipeline import NOTIFIER
from shared.service.lifecycle import running
from tests.harness.examples import an_order, created
from tests.harness.mailing import mailing_to
from tests.harness.notifying import notification_handler, notification_store
from tests.harness.routing import Routing, routing
from tests.harness.smtp_sink import Fault, SmtpSink, smtp_sink
from tests.harness.stores import store_in_process
from tests.harness.waiting import wait_until

ANN, BOB = "ann@example.org", "bob@example.org"
PER_HOUR, ALONE = 8, 6
"""Of eight letters two are kept for collected ones."""


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
    """What waits comes back soon."""
    monkeypatch.setattr(collecting, "COLLECT_SECONDS", 0.2)
    monkeypatch.setattr(sending, "ASK_AGAIN_SECONDS", 0.1)


@asynccontextmanager
async def notifying(
    broker: MemoryBroker, redis: Any, sink: SmtpSink, *, hour_seconds: float = 3600.0
) -> AsyncIterator[Routing]:
    """A notifier with that bound."""
    store = notification_store(redis, confirm_seconds=0.3)
    mail = mailing_to(sink, confirm_seconds=0.3)
    quota = RedisLetterQuota(redis, per_hour=PER_HOUR, timeout_seconds=5.0, hour_seconds=hour_seconds)
    handler = notification_handler(store, mail.sender, quota=quota, answer_seconds=0.1)
    async with (
        running(mail.connections.run()),
        routing(broker, handler, consumption=NOTIFIER, kind=OrderCreated, listener=store) as life,
    ):
        yield life


async def announce(broker: MemoryBroker, email: str, *order_ids: str) -> None:
    """Publishes that these orders are confirmed."""
    for order_id in order_ids:
        await broker.publish(message_of(created(an_order(order_id, email=email))))


def told(sink: SmtpSink, order_ids: list[str]) -> Counter[str]:
    """How many letters name each order."""
    texts = [str(letter.message.get_body(("plain",))) for letter in sink.letters]
    return Counter(order_id for order_id in order_ids for text in texts if f"Order {order_id}" in text)


async def all_sent(redis: Any, order_ids: list[str]) -> bool:
    """Whether every order's notification is recorded as sent."""
    return {await redis.hget(keyspace.notifications(each), "status") for each in order_ids} == {"sent"}


async def test_beyond_the_bound_one_letter_tells_of_many_orders(redis: Any, sink: SmtpSink) -> None:
    """Everything is told once, no attempt is spent, and another address has its letters at once."""
    broker, many, few = MemoryBroker(), [f"ann-{n:02}" for n in range(60)], ["bob-1", "bob-2"]
    await announce(broker, ANN, *many)
    await announce(broker, BOB, *few)
    async with notifying(broker, redis, sink) as life:

        async def told_all() -> bool:
            return await all_sent(redis, many + few)

        await wait_until(told_all, what="everything to be told")
        assert life.metrics.outcomes["dead"] == 0
    recipients = Counter(letter.recipient for letter in sink.letters)
    assert recipients[BOB] == 2
    assert ALONE < recipients[ANN] <= PER_HOUR
    assert told(sink, many) == Counter(many)
    assert {await redis.hget(keyspace.notifications(each), "attempts") for each in many} == {"1"}
    assert not await redis.hget(keyspace.notifications(many[-1]), "collected")


async def test_a_full_hour_holds_back_without_losing_anything(redis: Any, sink: SmtpSink) -> None:
    """The record says that it is collected; when the hour is over it is told, by another notifier as well."""
    broker, first, later = MemoryBroker(), [f"a{n}" for n in range(PER_HOUR)], ["b1", "b2", "b3"]
    quota = RedisLetterQuota(redis, per_hour=PER_HOUR, timeout_seconds=5.0, hour_seconds=2.0)
    for order_id in first:
        assert await quota.take(ANN, order_id, is_collected=True) == 0
    await announce(broker, ANN.upper(), *later)
    async with notifying(broker, redis, sink, hour_seconds=2.0):

        async def is_held_back() -> bool:
            return bool(await redis.hget(keyspace.notifications("b3"), "collected"))

        await wait_until(is_held_back, what="the events to be held back")
        assert sink.letters == []
    async with notifying(broker, redis, sink, hour_seconds=2.0):

        async def told_all() -> bool:
            return await all_sent(redis, later)

        await wait_until(told_all, what="the hour to be over")
    assert told(sink, later) == Counter(later)
    assert broker.depth(NOTIFIER.dead_queue) == 0


async def test_a_letter_leaves_out_who_declined_while_it_was_collected(redis: Any, sink: SmtpSink) -> None:
    """The address may be another customer's too, who is told of the rest."""
    broker, order_ids = MemoryBroker(), ["d1", "d2", "d3"]
    quota = RedisLetterQuota(redis, per_hour=PER_HOUR, timeout_seconds=5.0, hour_seconds=1.0)
    for n in range(PER_HOUR):
        assert await quota.take(ANN, f"earlier {n}", is_collected=True) == 0
    await redis.hset(keyspace.order("d2"), mapping={"customer": "ann", "timeline": ""})
    await announce(broker, ANN, *order_ids)
    async with notifying(broker, redis, sink, hour_seconds=1.0):

        async def stand_as(status: str, *ids: str) -> bool:
            found = [await redis.hgetall(keyspace.notifications(each)) for each in ids]
            return all(each.get("status") == status or each.get(status) for each in found)

        await wait_until(lambda: stand_as("collected", *order_ids), what="the events to be held back")
        await redis.zadd("declined:mail", {"ann": 1})
        await wait_until(lambda: stand_as("sent", "d1", "d3"), what="the others to be told")
        await wait_until(lambda: stand_as("declined", "d2"), what="the one to be over")
    assert told(sink, order_ids) == Counter(["d1", "d3"])


@pytest.mark.parametrize("hangs_up", [True, False], ids=["hangs up", "refuses"])
async def test_a_collected_letter_is_sent_again_as_one(redis: Any, sink: SmtpSink, hangs_up: bool) -> None:
    """Unanswered, it is followed by one more about the same orders; refused, by a retry."""
    broker, order_ids = MemoryBroker(), ["c1", "c2", "c3"]
    quota = RedisLetterQuota(redis, per_hour=PER_HOUR, timeout_seconds=5.0)
    for n in range(ALONE):
        assert await quota.take(ANN, f"earlier {n}", is_collected=False) == 0
    await announce(broker, ANN, *order_ids)
    fault = Fault(
        at="DATA", hang_up=hangs_up, kept=hangs_up, answer="" if hangs_up else "451 4.3.0 later", times=1
    )
    with sink.fault(fault):
        async with notifying(broker, redis, sink):

            async def told_all() -> bool:
                return await all_sent(redis, order_ids)

            await wait_until(told_all, what="everything to be told")
    assert set(told(sink, order_ids).values()) == ({2} if hangs_up else {1})


async def test_what_was_told_leaves_the_list_however_late_its_letter_was_answered(
    redis: Any, sink: SmtpSink
) -> None:
    """A list of what is told already would leave no room in the next letters."""
    broker, order_ids = MemoryBroker(), ["c1", "c2", "c3"]
    quota = RedisLetterQuota(redis, per_hour=PER_HOUR, timeout_seconds=5.0)
    for n in range(ALONE):
        assert await quota.take(ANN, f"earlier {n}", is_collected=False) == 0
    await announce(broker, ANN, *order_ids)
    with sink.fault(Fault(at="DATA", kept=True, delay_seconds=0.2)):
        async with notifying(broker, redis, sink):

            async def is_over() -> bool:
                return await all_sent(redis, order_ids) and not await quota.collected(ANN)

            await wait_until(is_over, what="everything to be told and off the list")
    assert told(sink, order_ids) == Counter(order_ids)


async def test_a_broken_list_holds_no_other_letter_up(redis: Any, sink: SmtpSink) -> None:
    """The events of that address are told one by one; the store is not away."""
    broker = MemoryBroker()
    quota = RedisLetterQuota(redis, per_hour=PER_HOUR, timeout_seconds=5.0)
    for n in range(ALONE):
        assert await quota.take(ANN, f"earlier {n}", is_collected=False) == 0
    await quota.collect(ANN, {"a": created(an_order("a", email=ANN))})
    (listed,) = await redis.keys("collected:*")
    await redis.set(listed, "broken")
    await announce(broker, ANN, "ann1", "ann2")
    await announce(broker, BOB, "bob1")
    async with notifying(broker, redis, sink):

        async def told_all() -> bool:
            return await all_sent(redis, ["ann1", "ann2", "bob1"])

        await wait_until(told_all, what="everything to be told")


async def test_a_last_letter_that_cannot_go_is_given_back(redis: Any, sink: SmtpSink) -> None:
    """One of the orders that it collects was taken by another notifier: the others may be told yet."""
    store = notification_store(redis)
    handler = notification_handler(store, mailing_to(sink).sender)
    mine, lost = (
        Attempt(notification=notification_of(created(an_order(name))), owner="me", channel="smtp")
        for name in ("mine", "lost")
    )
    await store.claim([mine, lost])
    await store.mark_unconfirmed([mine, lost], 1, "<a@shop>")
    await redis.set(keyspace.notification_claim(lost.notification.id), "unconfirmed:1:1:another")
    batch = NotificationBatch(asyncio.get_running_loop().create_future())
    outcome = await handler._dispatcher.send_letter([mine, lost], 1, batch)
    assert isinstance(outcome, Retry)
    (claim,) = await store.claim([replace(mine, owner="next")])
    assert isinstance(claim, Claimed)
    assert claim.unconfirmed == 1


async def test_the_same_letter_may_go_again_and_costs_nothing(redis: Any) -> None:
    """A retry, an outage of the mail server and a crash use up no other letter's place."""
    quota = RedisLetterQuota(redis, per_hour=2, timeout_seconds=5.0)
    assert await quota.take(ANN, "one", is_collected=False) == 0
    assert await quota.take(ANN, "one", is_collected=False) == 0
    assert await quota.take(ANN, "two", is_collected=False) > 0
    assert await quota.take(ANN, "two", is_collected=True) == 0
    assert 3590 < await quota.take(ANN, "three", is_collected=True) <= 3600
    assert await quota.take(BOB, "three", is_collected=False) == 0
    (key, _) = sorted(await redis.keys("letters:*"))
    assert ANN not in key
    assert 0 < await redis.ttl(key) <= 3600
