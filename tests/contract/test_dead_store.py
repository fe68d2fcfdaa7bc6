"""The orders behind dead letters, over the real scripts on both stores: what is decided stays decided."""

import asyncio
from typing import Any

import pytest

from dashboard.dead_letters.store import RedisTurns
from shared import keyspace
from shared.errors import StoreUnavailable
from shared.messages import Order, content_fingerprint, encode_order, event_time
from shared.messaging.dead_letters import DeadLettersBusy
from shared.orders.decisions import OTHER_CONTENT, Created, Rejected, Undecidable
from shared.orders.model import OUTCOMES, OrderStatus, Trouble
from shared.orders.ports import LetterStep, Noted
from shared.orders.records import OrderRecord, read_record
from shared.orders.redis.dead_letters import RedisOrderBooks
from shared.redis.client import Redis
from shared.redis.lease import Lease
from tests.harness.decisions import everything
from tests.harness.examples import AT, TRACE, an_order, placed
from tests.harness.stores import as_service

ORDER = an_order("order1", cable=2)


@pytest.fixture
def books(redis: Redis) -> RedisOrderBooks:
    """The adapter under test."""
    return RedisOrderBooks(as_service(redis, "dashboard"), timeout_seconds=5.0)


async def recorded(redis: Any, index: OrderStatus | Trouble, order: Order = ORDER, **more: str | int) -> None:
    """Writes the record of an order that stands there."""
    timeline = f"{AT}\taccepted\t\t\n{AT + 1}\t{index.value}\tbroken_stock\t3"
    status = OrderStatus.ACCEPTED if isinstance(index, Trouble) else index
    fields: dict[str, str | int] = {
        "id": order.id,
        "status": status.value,
        "order": encode_order(order),
        "fingerprint": content_fingerprint(order),
        "accepted_at": AT,
        "correlation_id": TRACE.correlation_id,
        "timeline": timeline,
        "attempts": 3,
    }
    if isinstance(index, Trouble):
        more = {"trouble": index.value, **more}
    elif index in OUTCOMES:
        more = {"decided_at": AT + 1, **more}
    await redis.hset(keyspace.order(order.id), mapping=fields | more)
    for each in {index, status}:
        await redis.zadd(keyspace.orders_in(each), {order.id: AT})


async def record_of(redis: Any) -> OrderRecord:
    """The record as readers see it."""
    return read_record(await redis.hgetall(keyspace.order(ORDER.id)))


async def indexes_of(redis: Any) -> list[str]:
    """The statuses in whose index the order stands."""
    return [
        status.value
        for status in (*OrderStatus, *Trouble)
        if await redis.zscore(keyspace.orders_in(status), ORDER.id) is not None
    ]


def a_step(step: str = "redriven", *, unless_decided: bool = True) -> LetterStep:
    """What happens to the order."""
    return step_of(ORDER, step, unless_decided=unless_decided)


def step_of(order: Order, step: str = "redriven", *, unless_decided: bool = True) -> LetterStep:
    """What happens to one order."""
    return LetterStep(
        order_id=order.id,
        fingerprint=content_fingerprint(order),
        step=step,
        reason="broken_stock",
        attempts=3,
        unless_decided=unless_decided,
    )


async def test_a_step_is_noted_once_however_often_it_is_asked_for(
    books: RedisOrderBooks, redis: Redis
) -> None:
    """A crash after it leads to the same timeline."""
    await recorded(redis, Trouble.DEAD)
    (first,) = await books.note([a_step()])
    assert await books.note([a_step()]) == [first]
    record = await record_of(redis)
    assert [step.step for step in record.timeline] == ["accepted", "dead", "redriven"]
    assert (record.timeline[-1].reason, record.timeline[-1].attempts) == ("broken_stock", 3)
    assert (first.trouble, record.trouble) == (Trouble.DEAD, Trouble.DEAD)


@pytest.mark.parametrize("status", [OrderStatus.CREATED, OrderStatus.REJECTED])
async def test_a_decided_order_is_left_alone(
    books: RedisOrderBooks, redis: Redis, status: OrderStatus | Trouble
) -> None:
    """Only a step about its notification is added."""
    await recorded(redis, status)
    before = await everything(redis)
    noted = await books.note([a_step()])
    await books.revive([Noted(order_id=ORDER.id, trouble=Trouble.DEAD, mark=noted[0].mark)])
    assert await everything(redis) == before
    await books.note([a_step("notification_redriven", unless_decided=False)])
    assert (await record_of(redis)).status is status
    assert (await record_of(redis)).timeline[-1].step == "notification_redriven"


async def test_an_order_without_a_record_gets_none_by_a_step(books: RedisOrderBooks, redis: Redis) -> None:
    """Only a decision recreates it."""
    assert await books.note([a_step()]) == [Noted(order_id=ORDER.id, trouble=None, mark=0)]
    await books.revive([Noted(order_id=ORDER.id, trouble=None, mark=0)])
    assert await redis.keys() == []


async def test_a_broken_record_is_said_to_be_unknown(books: RedisOrderBooks, redis: Redis) -> None:
    """It keeps the neighbours' steps from nothing."""
    await recorded(redis, Trouble.DEAD)
    await redis.set(keyspace.order("other"), "somebody else's")
    other = step_of(an_order("other"))
    noted = await books.note([other, a_step()])
    assert [each.trouble for each in noted] == [None, Trouble.DEAD]
    (answer,) = await books.drop([placed(an_order("other"))])
    assert isinstance(answer, Undecidable)


async def test_what_was_accepted_is_known_by_its_record(books: RedisOrderBooks, redis: Redis) -> None:
    """Of one that cannot be read, or is not there, nothing is."""
    await recorded(redis, Trouble.DEAD, customer="alice")
    await redis.set(keyspace.order("other"), "somebody else's")
    accepted = await books.accepted(ORDER.id)
    assert accepted is not None
    assert (accepted.data.order, accepted.data.customer) == (ORDER, "alice")
    assert [await books.accepted(each) for each in ("other", "nobody")] == [None, None]


async def test_a_dead_order_to_which_nothing_happened_is_retrying(
    books: RedisOrderBooks, redis: Redis
) -> None:
    """From now on, and once."""
    await recorded(redis, Trouble.DEAD)
    noted = await books.note([a_step()])
    for _ in range(2):
        await books.revive(noted)
        record = await record_of(redis)
        assert (record.trouble, await indexes_of(redis)) == (Trouble.RETRYING, ["accepted", "retrying"])
        assert record.next_attempt_at is not None


async def test_a_dead_order_to_which_something_happened_stays_as_it_is(
    books: RedisOrderBooks, redis: Redis
) -> None:
    """Its consumer has had it, and it died again."""
    await recorded(redis, Trouble.DEAD)
    noted = await books.note([a_step()])
    await redis.hset(keyspace.order(ORDER.id), "timeline", f"{AT}\taccepted\t\t\n" * 9 + f"{AT}\tdead\t\t4")
    before = await everything(redis)
    await books.revive(noted)
    assert await everything(redis) == before


@pytest.mark.parametrize("status", [OrderStatus.ACCEPTED, Trouble.RETRYING, Trouble.DEAD])
async def test_an_undecided_order_is_dropped_once(
    books: RedisOrderBooks, redis: Any, status: OrderStatus | Trouble
) -> None:
    """Asked again, the decision is the same to the microsecond, and is counted once."""
    await recorded(redis, status)
    if isinstance(status, Trouble):
        await redis.hset(keyspace.order(ORDER.id), "next_attempt_at", AT)
    await redis.set(keyspace.PROCESSED_COUNT, 41)
    first, again = [*await books.drop([placed(ORDER)]), *await books.drop([placed(ORDER)])]
    record = await record_of(redis)
    assert isinstance(first, Rejected)
    assert (first, first.reason, first.sku) == (again, "dropped", None)
    assert (record.status, record.reason, record.sequence) == (OrderStatus.REJECTED, "dropped", 42)
    assert (record.decided_at, record.next_attempt_at) == (first.decided_at, None)
    assert await indexes_of(redis) == ["rejected"]
    assert await redis.get(keyspace.PROCESSED_COUNT) == "42"


async def test_a_created_order_is_not_dropped(books: RedisOrderBooks, redis: Redis) -> None:
    """Its decision comes back instead, to be announced again."""
    await recorded(redis, OrderStatus.CREATED)
    before = await everything(redis)
    assert await books.drop([placed(ORDER)]) == [Created(decided_at=event_time(AT + 1))]
    assert await everything(redis) == before


async def test_an_order_without_a_record_is_dropped_from_its_message(
    books: RedisOrderBooks, redis: Redis
) -> None:
    """However old: it is the operator's wish."""
    await books.drop([placed(ORDER)])
    record = await record_of(redis)
    assert (record.order, record.status, record.sequence) == (ORDER, OrderStatus.REJECTED, 1)
    assert [step.step for step in record.timeline] == ["accepted", "recreated", "rejected"]


@pytest.mark.parametrize("status", [OrderStatus.ACCEPTED, Trouble.DEAD, OrderStatus.CREATED])
async def test_a_letter_says_nothing_about_another_order_under_its_id(
    books: RedisOrderBooks, redis: Redis, status: OrderStatus | Trouble
) -> None:
    """After the store went back to an older copy, the id of an order in the broker may be given once more."""
    await recorded(redis, status)
    before = await everything(redis)
    lost = an_order(ORDER.id, cable=7)
    assert await books.note([step_of(lost)]) == [Noted(order_id=ORDER.id, trouble=None, mark=0)]
    (answer,) = await books.drop([placed(lost)])
    assert isinstance(answer, Undecidable)
    assert answer.reason == OTHER_CONTENT
    assert await everything(redis) == before


async def test_where_the_books_are_broken_nothing_is_written(books: RedisOrderBooks, redis: Redis) -> None:
    """Redis does not roll back: every check stands before the first write."""
    await recorded(redis, Trouble.DEAD)
    for key in (keyspace.PROCESSED_COUNT, keyspace.orders_in(OrderStatus.REJECTED)):
        await redis.set(key, "somebody else's")
        before = await everything(redis)
        with pytest.raises(StoreUnavailable):  # all orders share them: this one is not at fault
            await books.drop([placed(ORDER)])
        assert await everything(redis) == before
        await redis.delete(key)


async def test_one_at_a_time_has_the_turn(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several dashboards as of several requests; the next one has it as soon as it is free."""
    monkeypatch.setattr("dashboard.dead_letters.store.TURN_SECONDS", 0.3)
    mine, others = (
        RedisTurns(Lease(as_service(redis, "dashboard"), keyspace.DEAD_LETTERS_LEASE, timeout_seconds=5.0))
        for _ in range(2)
    )
    for turns in (mine, others):
        async with mine.turn():
            with pytest.raises(DeadLettersBusy):
                await turns.turn().__aenter__()
    async with asyncio.timeout(0.3), others.turn():
        assert await redis.get(keyspace.DEAD_LETTERS_LEASE) is not None
    async with asyncio.timeout(0.3), mine.turn():
        pass
