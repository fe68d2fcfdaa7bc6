"""An order that is to begin later waits in the store, takes stock when due, can be cancelled until then."""

from typing import Any

import pytest

from shared import keyspace
from shared.orders.model import OrderStatus
from shared.orders.moves import IllegalMove, Moved
from shared.orders.placement import Accepted, Duplicate, OwnScheduleFull, Replayed, ScheduleFull
from shared.orders.redis import store
from shared.orders.redis.schedule import RedisSchedule
from tests.contract.test_cut_scripts import cut_after, uncut, until_uncut
from tests.harness.decisions import (
    A_CENTURY,
    decide_one,
    indexes_of,
    is_logged,
    record_of,
    stocked,
    store_recreating,
)
from tests.harness.examples import an_order, placed
from tests.harness.gateway import a_placement, order_store
from tests.harness.moving import moved
from tests.harness.shop import Shop
from tests.harness.stores import as_service

HOUR = 3_600_000_000
ORDER = an_order("a", cable=3)


async def now(redis: Any) -> int:
    """By the store's clock, in microseconds."""
    seconds, microseconds = await redis.time()
    return int(seconds) * 1_000_000 + int(microseconds)


async def scheduled(redis: Any, *, in_microseconds: int = HOUR, **more: Any) -> Any:
    """The answer to an order that is to begin in an hour."""
    at = await now(redis) + in_microseconds
    return (await order_store(redis).accept(a_placement(ORDER, not_before=at, **more))).result


def schedule(redis: Any) -> RedisSchedule:
    """A gateway's sight of what is due."""
    return RedisSchedule(as_service(redis, "api_gateway"), timeout_seconds=5.0)


async def its_time_comes(redis: Any) -> None:
    """An hour has passed for the order."""
    place = await now(redis) - 1
    await redis.zadd(keyspace.DUE, {"a": place}, xx=True)


async def test_it_waits_in_no_queue_and_takes_no_stock_until_it_is_due(redis: Any) -> None:
    """Then it is an order like any other."""
    await stocked(redis, cable=10)
    result = await scheduled(redis, customer="ann")
    assert isinstance(result, Accepted)
    record = await record_of(redis, "a")
    assert (record.status, record.accepted_at, record.not_before) == (
        OrderStatus.SCHEDULED,
        record.not_before,
        record.accepted_at,
    )
    assert await indexes_of(redis, "a") == ["scheduled"]
    assert await redis.zcard(keyspace.OUTBOX) == 0
    assert await schedule(redis).take_up(10) == []
    assert (await Shop(redis).verify()).verdict.faults() == {}

    await its_time_comes(redis)
    assert await schedule(redis).take_up(10) == ["a"]
    assert await schedule(redis).take_up(10) == []
    record = await record_of(redis, "a")
    assert [step.step for step in record.timeline] == ["scheduled", "accepted"]
    assert await indexes_of(redis, "a") == ["accepted"]
    assert await redis.zrange(keyspace.OUTBOX, 0, -1) == ["a"]
    assert await redis.exists(keyspace.due_of("ann"), keyspace.DUE) == 0
    await decide_one(store_recreating(redis, A_CENTURY), placed(ORDER))
    assert await redis.get("inventory:cable") == "7"
    assert await is_logged(redis)


async def test_a_time_that_is_past_is_now(redis: Any) -> None:
    """A client may repeat its request after the time has come."""
    result = await scheduled(redis, in_microseconds=-HOUR)
    assert isinstance(result, Accepted)
    assert result.not_before is None
    assert await indexes_of(redis, "a") == ["accepted"]


async def test_a_request_that_is_repeated_is_answered_as_it_was(redis: Any) -> None:
    """Also once the order has begun; another time is other content."""
    at = await now(redis) + HOUR
    first = (await order_store(redis).accept(a_placement(ORDER, not_before=at, key="k"))).result
    assert isinstance(first, Accepted)
    await its_time_comes(redis)
    await schedule(redis).take_up(10)
    again = (await order_store(redis).accept(a_placement(ORDER, not_before=at, key="k"))).result
    assert isinstance(again, Replayed)
    assert again.not_before == first.not_before == at
    same = (await order_store(redis).accept(a_placement(ORDER, not_before=at))).result
    other = (await order_store(redis).accept(a_placement(ORDER, not_before=at + 1))).result
    assert isinstance(same, Duplicate)
    assert isinstance(other, Duplicate)
    assert (same.same_content, other.same_content) == (True, False)


async def test_it_is_cancelled_before_its_time_and_never_begins(redis: Any) -> None:
    """It makes room for another one, too."""
    await scheduled(redis, customer="ann")
    assert await moved(redis, "a", OrderStatus.PROCESSING) == IllegalMove(status=OrderStatus.SCHEDULED)
    assert await moved(redis, "a", OrderStatus.CANCELLED) == Moved(is_new=True)
    assert await redis.exists(keyspace.due_of("ann"), keyspace.DUE) == 0
    assert await schedule(redis).take_up(10) == []
    assert await indexes_of(redis, "a") == ["cancelled"]
    assert await redis.zcard(keyspace.OUTBOX) == 0


async def test_there_is_a_bound_for_all_and_one_for_each_customer(
    redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orders that begin at once are not counted."""
    monkeypatch.setattr(store, "MOST_SCHEDULED_OF_ONE", 2)
    monkeypatch.setattr(store, "MOST_SCHEDULED", 3)
    at = await now(redis) + HOUR

    async def place(name: str, customer: str | None) -> str:
        placement = a_placement(an_order(name, cable=1), customer=customer, not_before=at)
        try:
            await order_store(redis).accept(placement)
        except (ScheduleFull, OwnScheduleFull) as error:
            return type(error).__name__
        return ""

    assert [await place(f"o{n}", "ann") for n in range(3)] == ["", "", "OwnScheduleFull"]
    assert [await place(f"p{n}", None) for n in range(2)] == ["", "ScheduleFull"]
    assert isinstance((await order_store(redis).accept(a_placement(ORDER))).result, Accepted)


@pytest.mark.parametrize("key", [None, "key"], ids=["without a key", "with a key"])
async def test_a_cut_leaves_it_to_who_asks_again(redis: Any, key: str | None) -> None:
    """One order, which waits for its time."""

    async def cut(writes: int) -> bool:
        await redis.flushall()
        at = await now(redis) + HOUR
        placement = a_placement(ORDER, key=key, customer="ann", not_before=at)
        with cut_after(writes):
            answer = await uncut(order_store(redis).accept(placement))
        if answer is not None:
            return False
        await order_store(redis).accept(placement)
        assert await indexes_of(redis, "a") == ["scheduled"]
        assert await redis.zrange(keyspace.DUE, 0, -1, withscores=True) == [("a", at)]
        assert await redis.smembers(keyspace.due_of("ann")) == {"a"}
        assert await redis.zcard(keyspace.OUTBOX) == 0
        assert await is_logged(redis)
        return True

    await until_uncut(cut)


@pytest.mark.parametrize("meanwhile", ["nothing", "decided", "cancelled"])
async def test_a_beginning_that_was_cut_is_finished(redis: Any, meanwhile: str) -> None:
    """Whatever has become of the order until then."""

    async def cut(writes: int) -> bool:
        await redis.flushall()
        await stocked(redis, cable=10)
        await scheduled(redis, customer="ann")
        await its_time_comes(redis)
        with cut_after(writes):
            await uncut(schedule(redis).take_up(10))
        if not await redis.zscore(keyspace.DUE, "a"):
            return False
        await its_time_comes(redis)
        if meanwhile == "decided" and await redis.zscore(keyspace.OUTBOX, "a"):
            await decide_one(store_recreating(redis, A_CENTURY), placed(ORDER))
        if meanwhile == "cancelled":
            assert await moved(redis, "a", OrderStatus.CANCELLED) == Moved(is_new=True)
        await schedule(redis).take_up(10)
        status = (await record_of(redis, "a")).status
        assert await indexes_of(redis, "a") == [status]
        assert await redis.exists(keyspace.due_of("ann"), keyspace.DUE) == 0
        if status is OrderStatus.ACCEPTED:
            assert await redis.zrange(keyspace.OUTBOX, 0, -1) == ["a"]
        assert await is_logged(redis)
        return True

    await until_uncut(cut)


async def test_one_that_cannot_begin_keeps_no_other_from_it(redis: Any) -> None:
    """It is tried again later, when somebody may have repaired it."""
    await scheduled(redis)
    await its_time_comes(redis)
    await redis.set(keyspace.order("broken"), "no record")
    await redis.zadd(keyspace.DUE, {"broken": 1})
    assert await schedule(redis).take_up(10) == ["a"]
    assert await schedule(redis).take_up(10) == []
    assert await redis.zscore(keyspace.DUE, "broken") > await now(redis)


async def test_verify_finds_one_that_nothing_will_ever_begin(redis: Any) -> None:
    """The planted bug: it is scheduled, and stands nowhere by its time. Republishing puts it there again."""
    shop = Shop(redis)
    await scheduled(redis)
    await redis.delete(keyspace.DUE)
    assert (await shop.verify()).verdict.faults() == {"stuck": ["a"]}
    outcome = await shop.verify(republish=True)
    assert list(outcome.republished) == ["a"]
    assert await redis.zrange(keyspace.DUE, 0, -1) == ["a"]
