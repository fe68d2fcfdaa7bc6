"""Orders that wait for another attempt or are given up: shown as such, and never instead of a decision."""

import random
from typing import Any

import pytest

from shared.messaging.retry import Bury, Dead, History, Retry, Wait, decide
from shared.orders.decisions import Created
from shared.orders.model import OrderStatus, Trouble
from shared.orders.redis.decisions import RedisDecisionStore
from shared.redis.client import Redis
from tests.harness.decisions import (
    A_CENTURY,
    accepted,
    decide_one,
    everything,
    indexes_of,
    record_of,
    stocked,
    store_recreating,
)
from tests.harness.examples import AT, an_order, order_of, placed


@pytest.fixture
def store(redis: Redis) -> RedisDecisionStore:
    """A store that recreates any order, however old its message."""
    return store_recreating(redis, A_CENTURY)


def waiting(attempts: int = 1, seconds: float = 30.0) -> Wait:
    """The fate of a message that comes back after ``seconds``."""
    history = History(attempts=attempts, reason="handler_error", first_failed_at=AT, last_failed_at=AT)
    return Wait(tier_seconds=30, expiration_seconds=seconds, history=history)


def buried(reason: str = "broken_stock") -> Bury:
    """The fate of a message that is given up."""
    fate = decide(Dead(reason=reason), History(attempts=2), AT, random.Random(1))
    assert isinstance(fate, Bury)
    return fate


async def test_an_order_that_waits_is_shown_as_retrying_with_its_next_attempt(
    redis: Any, store: RedisDecisionStore
) -> None:
    """Whoever asks sees why, how often, and when it goes on."""
    event = await accepted(redis, an_order("a"))
    await store.waits(event, waiting(attempts=3, seconds=30.0))
    record = await record_of(redis, "a")
    assert (record.status, record.trouble, record.reason) == (
        OrderStatus.ACCEPTED,
        Trouble.RETRYING,
        "handler_error",
    )
    step = record.timeline[-1]
    assert (step.step, step.reason, step.attempts) == ("retrying", "handler_error", 3)
    assert record.next_attempt_at is not None
    assert (record.next_attempt_at - step.at).total_seconds() == 30.0
    assert await indexes_of(redis, "a") == ["accepted", "retrying"]


async def test_an_order_given_up_is_shown_as_dead(redis: Any, store: RedisDecisionStore) -> None:
    """It waits for an operator, not for a time."""
    event = await accepted(redis, an_order("a"))
    await store.waits(event, waiting())
    await store.buried(event, buried())
    record = await record_of(redis, "a")
    assert (record.trouble, record.reason, record.next_attempt_at) == (Trouble.DEAD, "broken_stock", None)
    assert await indexes_of(redis, "a") == ["accepted", "dead"]


async def test_a_dead_order_that_is_sent_back_can_be_decided(redis: Any, store: RedisDecisionStore) -> None:
    """A redrive is a delivery like any other, and nothing of the failure is left over."""
    await stocked(redis, cable=10)
    event = await accepted(redis, an_order("a", cable=1))
    await store.buried(event, buried())
    assert isinstance(await decide_one(store, event), Created)
    record = await record_of(redis, "a")
    assert (record.status, record.reason, record.next_attempt_at) == (OrderStatus.CREATED, None, None)
    assert [step.step for step in record.timeline] == ["accepted", "dead", "created"]
    assert await indexes_of(redis, "a") == ["created"]


@pytest.mark.parametrize("sku", ["cable", "nothing"], ids=["created", "rejected"])
async def test_nothing_overwrites_a_decision(redis: Any, store: RedisDecisionStore, sku: str) -> None:
    """A late duplicate that fails is of no account."""
    await stocked(redis, cable=10)
    event = await accepted(redis, order_of("a", {sku: 1}))
    await decide_one(store, event)
    before = await everything(redis)
    await store.waits(event, waiting())
    await store.buried(event, buried())
    assert await everything(redis) == before


async def test_a_failure_is_noted_on_no_other_order_under_its_id(
    redis: Any, store: RedisDecisionStore
) -> None:
    """After the store went back to an older copy, the id of an order in the broker may be given once more."""
    await accepted(redis, an_order("a", cable=1))
    before = await everything(redis)
    lost = placed(an_order("a", cable=7))
    await store.waits(lost, waiting())
    await store.buried(lost, buried("other_content"))
    assert await everything(redis) == before


async def test_an_order_without_a_record_gets_none_by_failing(redis: Any, store: RedisDecisionStore) -> None:
    """Half a record would look like an order that the gateway accepted."""
    await store.buried(placed(an_order("a")), buried("order_unknown"))
    assert await everything(redis) == {}


async def test_waiting_again_is_noted_again(redis: Any, store: RedisDecisionStore) -> None:
    """The timeline tells every attempt."""
    event = await accepted(redis, an_order("a"))
    for attempts in (1, 2):
        fate = decide(Retry(reason="handler_error"), History(attempts=attempts - 1), AT, random.Random(1))
        assert isinstance(fate, Wait)
        await store.waits(event, fate)
    record = await record_of(redis, "a")
    assert [(step.step, step.attempts) for step in record.timeline] == [
        ("accepted", None),
        ("retrying", 1),
        ("retrying", 2),
    ]


async def test_a_note_that_comes_twice_is_one_note(redis: Any, store: RedisDecisionStore) -> None:
    """Its sender could not know that the first one had arrived."""
    event = await accepted(redis, an_order("a"))
    await store.waits(event, waiting())
    before = await everything(redis)
    await store.waits(event, waiting())
    assert await everything(redis) == before


async def test_a_dead_order_does_not_begin_to_retry_by_itself(redis: Any, store: RedisDecisionStore) -> None:
    """A note that its sender gave up on may arrive when the message lies in the dead-letter queue already."""
    event = await accepted(redis, an_order("a"))
    await store.buried(event, buried())
    before = await everything(redis)
    await store.waits(event, waiting())
    assert await everything(redis) == before
