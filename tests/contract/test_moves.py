"""Moves follow one table; stock comes back once, and of a cancel and a decision exactly one happens."""

import asyncio
from itertools import product
from typing import Any

import pytest

from shared import keyspace
from shared.messaging.retry import Bury, History, Wait
from shared.orders.decisions import Cancelled, Created
from shared.orders.model import MOVES, OrderStatus, Trouble
from shared.orders.moves import EVENT_TYPES, IllegalMove, Moved, MoveKeyReused, MoveResult, OtherVersion
from shared.orders.placement import Duplicate
from shared.orders.redis.dead_letters import RedisOrderBooks
from tests.harness import moving
from tests.harness.decisions import (
    A_CENTURY,
    accepted,
    decide_one,
    everything,
    indexes_of,
    is_logged,
    record_of,
    stocked,
    store_recreating,
)
from tests.harness.examples import an_order, placed
from tests.harness.gateway import a_placement, order_store
from tests.harness.stores import as_service

WAYS: dict[OrderStatus, tuple[OrderStatus, ...]] = {
    OrderStatus.ACCEPTED: (),
    OrderStatus.CREATED: (),
    OrderStatus.REJECTED: (),
    OrderStatus.PROCESSING: (OrderStatus.PROCESSING,),
    OrderStatus.SHIPPED: (OrderStatus.PROCESSING, OrderStatus.SHIPPED),
    OrderStatus.DELIVERED: (OrderStatus.PROCESSING, OrderStatus.SHIPPED, OrderStatus.DELIVERED),
    OrderStatus.CANCELLED: (OrderStatus.CANCELLED,),
}
"""How an order comes to stand there, by moves after its decision."""


async def moved(redis: Any, to: OrderStatus, **more: Any) -> MoveResult:
    """The answer to a request to move the order ``a``."""
    return await moving.moved(redis, "a", to, **more)


async def standing(redis: Any, status: OrderStatus) -> None:
    """The order ``a`` of three cables of ten, in this status."""
    await redis.flushall()
    await stocked(redis, cable=10)
    event = await accepted(redis, an_order("a", cable=99 if status is OrderStatus.REJECTED else 3))
    if status is not OrderStatus.ACCEPTED:
        await decide_one(store_recreating(redis, A_CENTURY), event)
    for to in WAYS[status]:
        assert await moved(redis, to) == Moved(is_new=True)


@pytest.mark.parametrize(("status", "to"), list(product(WAYS, EVENT_TYPES)))
async def test_every_move_from_every_status_is_as_the_table_has_it(
    redis: Any, status: OrderStatus, to: OrderStatus
) -> None:
    """What is allowed happens with everything that belongs to it, and nothing else happens."""
    await standing(redis, status)
    await redis.delete(keyspace.STOCK_CHANGED)
    before = await everything(redis)
    answer = await moved(redis, to)
    if to in MOVES[status]:
        assert answer == Moved(is_new=True)
        assert (await record_of(redis, "a")).timeline[-1].by == "olga"
        assert await indexes_of(redis, "a") == [to.value]
        assert f"a:{to.value}" in await redis.zrange(keyspace.MOVES, 0, -1)
        is_back = to is OrderStatus.CANCELLED
        assert await redis.get("inventory:cable") == ("10" if is_back else "7")
        assert int(await redis.hget(keyspace.RESERVED, "cable") or 0) == (0 if is_back else 3)
        assert await redis.smembers(keyspace.STOCK_CHANGED) == (
            {"cable"} if is_back and status is not OrderStatus.ACCEPTED else set()
        )
        assert await is_logged(redis)
    else:
        assert answer == (Moved(is_new=False) if status is to else IllegalMove(status=status))
        assert await everything(redis) == before


async def test_cancelling_gives_stock_back_once_however_often_it_is_asked(redis: Any) -> None:
    """Twenty requests at once."""
    await standing(redis, OrderStatus.CREATED)
    answers = await asyncio.gather(*(moved(redis, OrderStatus.CANCELLED) for _ in range(20)))
    assert answers.count(Moved(is_new=True)) == 1
    assert await redis.get("inventory:cable") == "10"
    assert await redis.get(keyspace.RELEASES) == "1"


async def test_an_order_that_was_cancelled_first_is_never_created(redis: Any) -> None:
    """Its message finds it cancelled, and takes nothing."""
    await standing(redis, OrderStatus.ACCEPTED)
    assert await moved(redis, OrderStatus.CANCELLED) == Moved(is_new=True)
    store = store_recreating(redis, A_CENTURY)
    event = placed((await record_of(redis, "a")).order)
    assert await decide_one(store, event) == Cancelled()
    assert await redis.get("inventory:cable") == "10"
    assert await indexes_of(redis, "a") == ["cancelled"]


async def test_a_decision_is_told_again_after_the_order_has_moved_on(redis: Any) -> None:
    """A redelivery announces the same event, and changes nothing."""
    await standing(redis, OrderStatus.DELIVERED)
    before = await everything(redis)
    event = placed((await record_of(redis, "a")).order)
    assert isinstance(await decide_one(store_recreating(redis, A_CENTURY), event), Created)
    assert await everything(redis) == before


async def test_a_move_that_rests_on_an_older_version_is_refused(redis: Any) -> None:
    """The answer has the version of now."""
    await standing(redis, OrderStatus.CREATED)
    assert await moved(redis, OrderStatus.CANCELLED, version=1) == OtherVersion(version=2)
    assert await moved(redis, OrderStatus.CANCELLED, version=2) == Moved(is_new=True)


async def test_a_key_has_the_same_answer_after_the_order_has_moved_on(redis: Any) -> None:
    """And is refused for another move."""
    await standing(redis, OrderStatus.CREATED)
    assert await moved(redis, OrderStatus.PROCESSING, key="k") == Moved(is_new=True)
    assert await moved(redis, OrderStatus.SHIPPED) == Moved(is_new=True)
    assert await moved(redis, OrderStatus.PROCESSING, key="k") == Moved(is_new=False)
    assert await moved(redis, OrderStatus.DELIVERED, key="k") == MoveKeyReused()


async def test_a_key_that_came_with_the_status_that_an_order_has_is_remembered_too(redis: Any) -> None:
    """Its repetition has the same answer, however late it comes."""
    await standing(redis, OrderStatus.PROCESSING)
    assert await moved(redis, OrderStatus.PROCESSING, key="k") == Moved(is_new=False)
    assert await moved(redis, OrderStatus.SHIPPED) == Moved(is_new=True)
    assert await moved(redis, OrderStatus.PROCESSING, key="k") == Moved(is_new=False)
    assert await moved(redis, OrderStatus.DELIVERED, key="k") == MoveKeyReused()


async def test_keys_of_two_senders_are_told_apart(redis: Any) -> None:
    """The customer's key is none of the operator's, who may have chosen the same for another move."""
    await standing(redis, OrderStatus.CREATED)
    assert await moved(redis, OrderStatus.PROCESSING, key="k") == Moved(is_new=True)
    assert await moved(redis, OrderStatus.CANCELLED, key="k", by="ann") == Moved(is_new=True)
    assert await moved(redis, OrderStatus.PROCESSING, key="k") == Moved(is_new=False)
    assert await moved(redis, OrderStatus.PROCESSING, key="k", by="ann") == MoveKeyReused()


async def test_the_id_of_a_cancelled_order_stays_taken(redis: Any) -> None:
    """Who places it again learns that it was cancelled, and nothing begins anew."""
    await stocked(redis, cable=10)
    placement = a_placement(an_order("a", cable=3))
    await order_store(redis).accept(placement)
    await moved(redis, OrderStatus.CANCELLED)
    assert await redis.zrange(keyspace.OUTBOX, 0, -1) == []
    result = (await order_store(redis).accept(placement)).result
    assert isinstance(result, Duplicate)
    assert (result.status, result.same_content) == (OrderStatus.CANCELLED, True)
    assert await redis.zrange(keyspace.OUTBOX, 0, -1) == []


@pytest.mark.parametrize("trouble", Trouble)
async def test_an_order_in_trouble_can_be_cancelled(redis: Any, trouble: Trouble) -> None:
    """It is in none afterwards, whatever becomes of its message: late notes, a redrive or a drop."""
    await stocked(redis, cable=10)
    event, store = await accepted(redis, an_order("a", cable=3)), store_recreating(redis, A_CENTURY)
    history = History(attempts=1, reason="broken_stock", last_failed_at=1)

    async def fail(trouble: Trouble) -> None:
        if trouble is Trouble.DEAD:
            await store.buried(event, Bury(history=history))
        else:
            await store.waits(event, Wait(tier_seconds=5, expiration_seconds=5, history=history))

    await fail(trouble)
    assert await moved(redis, OrderStatus.CANCELLED) == Moved(is_new=True)
    assert await indexes_of(redis, "a") == ["cancelled"]
    before = await everything(redis)
    books = RedisOrderBooks(as_service(redis, "dashboard"), timeout_seconds=5.0)
    for each in Trouble:
        await fail(each)
    assert await books.drop([event]) == [Cancelled()]
    assert await decide_one(store, event) == Cancelled()
    assert await everything(redis) == before
