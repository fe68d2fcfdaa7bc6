"""What a customer is told of an order that has moved on: each step once, and none after a later one."""

from typing import Any

import pytest

from notifier.domain import notification_of
from notifier.ports import AlreadySent, Attempt, Claim, Claimed
from notifier.store import RedisNotificationStore
from shared import keyspace
from shared.messages import Event, OrderCancelled, OrderCreated, OrderShipped, event_time
from shared.messaging.retry import Bury, History
from shared.redis.client import Redis
from tests.harness.examples import AT, TRACE, an_order
from tests.harness.notifying import notification_store

ORDER = an_order("a")
CREATED, SHIPPED, CANCELLED = (
    OrderCreated(order=ORDER),
    OrderShipped(order=ORDER),
    OrderCancelled(order=ORDER),
)


@pytest.fixture
def store(redis: Redis) -> RedisNotificationStore:
    """What the notifier remembers."""
    return notification_store(redis)


def event(data: Any) -> Event[Any]:
    """What announces a step."""
    return Event(source="/test", time=event_time(AT), data=data, trace=TRACE)


def attempt(data: Any, owner: str = "one") -> Attempt:
    """One owner's try at telling of a step."""
    return Attempt(notification=notification_of(event(data)), owner=f"{owner} {data}", channel="log")


async def claimed(store: RedisNotificationStore, data: Any, owner: str = "one") -> Claim:
    """The answer to a claim."""
    (claim,) = await store.claim([attempt(data, owner)])
    return claim


async def told(store: RedisNotificationStore, data: Any) -> None:
    """A step is told of."""
    assert isinstance(await claimed(store, data), Claimed)
    await store.mark_sent([attempt(data)])


async def test_an_earlier_step_is_not_told_after_a_later_one(
    redis: Any, store: RedisNotificationStore
) -> None:
    """Its event is dealt with, its customer waits no longer, and what was told last is what is shown."""
    await redis.zadd(keyspace.UNTOLD, {event(CREATED).id: 1, event(SHIPPED).id: 2})
    await told(store, SHIPPED)
    shown = await redis.hgetall(keyspace.notifications("a"))
    for _ in range(2):
        assert await claimed(store, CREATED) == AlreadySent()
    assert await redis.zcard(keyspace.UNTOLD) == 0
    assert await redis.hgetall(keyspace.notifications("a")) == shown
    assert await redis.hgetall(keyspace.NOTIFICATION_COUNTS) == {"sent": "1", "sending": "0"}


async def test_steps_in_their_order_are_told_each(redis: Any, store: RedisNotificationStore) -> None:
    """The order is shown by the last."""
    for data in (CREATED, SHIPPED):
        await told(store, data)
    assert await redis.hget(keyspace.notifications("a"), "event_id") == event(SHIPPED).id
    assert await redis.hgetall(keyspace.NOTIFICATION_COUNTS) == {"sent": "1", "sending": "0"}


@pytest.mark.parametrize("ending", ["sending", "failed"])
async def test_an_earlier_step_is_told_while_the_later_one_is_not(
    redis: Any, store: RedisNotificationStore, ending: str
) -> None:
    """The later one stays what is shown, and goes on as if nothing had been."""
    await claimed(store, CANCELLED)
    if ending == "failed":
        await store.release([attempt(CANCELLED)], "no such mailbox")
        await store.buried(event(CANCELLED), Bury(history=History(attempts=1, reason="undeliverable")))
    shown = await redis.hgetall(keyspace.notifications("a"))
    await told(store, CREATED)
    assert await redis.hgetall(keyspace.notifications("a")) == shown
    assert await claimed(store, CREATED, "two") == AlreadySent()
    await told(store, CANCELLED)
    assert await redis.hget(keyspace.notifications("a"), "status") == "sent"


async def test_a_letter_that_is_under_way_while_a_later_step_is_told_is_marked(
    redis: Any, store: RedisNotificationStore
) -> None:
    """Its claim is renewed in vain, and it went out once."""
    await claimed(store, CREATED)
    await told(store, SHIPPED)
    assert await claimed(store, CREATED) == AlreadySent()
    await store.mark_sent([attempt(CREATED)])
    assert await redis.get(keyspace.notification_claim(event(CREATED).id)) == "sent"
    assert await redis.hget(keyspace.notifications("a"), "event_id") == event(SHIPPED).id
