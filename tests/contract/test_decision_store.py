"""Deciding orders: all of the stock or none, once, over the real scripts on both stores."""

from typing import Any

import pytest

from shared import keyspace
from shared.errors import StoreUnavailable
from shared.messages import epoch_microseconds
from shared.orders.decisions import Created, Rejected, Undecidable
from shared.orders.model import OrderStatus
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
from tests.harness.examples import AT, TRACE, an_order, order_of, placed


@pytest.fixture
def store(redis: Redis) -> RedisDecisionStore:
    """A store that recreates any order, however old its message."""
    return store_recreating(redis, A_CENTURY)


# --- all or nothing -----------------------------------------------------------------------------------------


async def test_an_order_takes_all_of_its_stock(redis: Any, store: RedisDecisionStore) -> None:
    """Every item is reserved, counted and remembered."""
    await stocked(redis, cable=10, case=5)
    event = await accepted(redis, an_order("a", cable=3, case=5))
    decision = await decide_one(store, event)
    assert isinstance(decision, Created)
    assert await redis.mget("inventory:cable", "inventory:case") == ["7", "0"]
    assert await redis.hgetall(keyspace.RESERVED) == {"cable": "3", "case": "5"}
    assert await redis.smembers(keyspace.SKUS) == {"cable", "case"}
    record = await record_of(redis, "a")
    assert (record.status, record.decided_at) == (OrderStatus.CREATED, decision.decided_at)
    assert [step.step for step in record.timeline] == ["accepted", "created"]


async def test_an_order_of_which_one_item_is_short_takes_nothing(
    redis: Any, store: RedisDecisionStore
) -> None:
    """The items that are there stay there, wherever in the order they stand."""
    await stocked(redis, cable=10, case=1, plug=10)
    decision = await decide_one(store, await accepted(redis, an_order("a", cable=3, case=2, plug=1)))
    assert isinstance(decision, Rejected)
    assert (decision.reason, decision.sku) == ("insufficient_stock", "case")
    assert await redis.mget("inventory:cable", "inventory:case", "inventory:plug") == ["10", "1", "10"]
    assert await redis.exists(keyspace.RESERVED) == 0
    record = await record_of(redis, "a")
    assert (record.status, record.reason, record.sku_at_fault) == (
        OrderStatus.REJECTED,
        "insufficient_stock",
        "case",
    )


async def test_the_last_pieces_can_be_had_and_no_more(redis: Any, store: RedisDecisionStore) -> None:
    """Stock reaches zero and never goes below, within one batch too."""
    await stocked(redis, cable=5)
    decisions = await store.decide([placed(an_order(order_id, cable=2)) for order_id in "abc"])
    assert [type(decision) for decision in decisions] == [Created, Created, Rejected]
    assert await redis.get("inventory:cable") == "1"


@pytest.mark.parametrize(
    ("quantities", "reason", "sku"),
    [
        ({"nothing": 1}, "unknown_sku", "nothing"),
        ({"cable": 99}, "insufficient_stock", "cable"),
        ({"cable": 99, "case": 99}, "insufficient_stock", "cable"),
        ({"cable": 99, "nothing": 1}, "unknown_sku", "nothing"),
        ({"nothing": 1, "cable": 99}, "unknown_sku", "nothing"),
        ({"nothing": 1, "nowhere": 1}, "unknown_sku", "nothing"),
    ],
)
async def test_a_rejection_names_its_reason_and_the_item_at_fault(
    redis: Any, store: RedisDecisionStore, quantities: dict[str, int], reason: str, sku: str
) -> None:
    """What does not exist weighs more than what is short, and the first such item is named."""
    await stocked(redis, cable=10, case=10)
    decision = await decide_one(store, placed(order_of("a", quantities)))
    assert isinstance(decision, Rejected)
    assert (decision.reason, decision.sku) == (reason, sku)


async def test_stock_that_an_operator_set_below_zero_is_short(redis: Any, store: RedisDecisionStore) -> None:
    """It is an integer all the same, and nothing more is taken of it."""
    await stocked(redis, cable=-3)
    decision = await decide_one(store, placed(an_order(cable=1)))
    assert isinstance(decision, Rejected)
    assert await redis.get("inventory:cable") == "-3"


# --- once ---------------------------------------------------------------------------------------------------


async def test_deciding_twice_is_deciding_once(redis: Any, store: RedisDecisionStore) -> None:
    """A redelivery finds the decision and changes nothing at all."""
    await stocked(redis, cable=10)
    events = [placed(an_order("a", cable=4)), placed(an_order("b", cable=99))]
    first = await store.decide(events)
    before = await everything(redis)
    assert await store.decide(events) == first
    assert await everything(redis) == before


async def test_the_same_order_twice_in_a_batch_is_decided_once(redis: Any, store: RedisDecisionStore) -> None:
    """A duplicate may arrive right behind its original."""
    await stocked(redis, cable=10)
    event = placed(an_order("a", cable=4))
    first, second = await store.decide([event, event])
    assert first == second
    assert await redis.get("inventory:cable") == "6"


async def test_a_decision_stands_when_stock_comes_in_later(redis: Any, store: RedisDecisionStore) -> None:
    """A rejection is final: the customer has been told."""
    event = placed(an_order("a", cable=1))
    first = await decide_one(store, event)
    await stocked(redis, cable=10)
    assert await decide_one(store, event) == first
    assert await redis.get("inventory:cable") == "10"


async def test_every_decided_order_gets_the_next_number(redis: Any, store: RedisDecisionStore) -> None:
    """The count and the orders' sequence numbers agree, rejected ones included."""
    await stocked(redis, cable=1)
    for order_id in "abc":
        await decide_one(store, placed(an_order(order_id, cable=1)))
    assert await redis.get(keyspace.PROCESSED_COUNT) == "3"
    assert [(await record_of(redis, order_id)).sequence for order_id in "abc"] == [1, 2, 3]


async def test_an_order_stands_in_the_index_of_its_status_alone(
    redis: Any, store: RedisDecisionStore
) -> None:
    """The sizes of the indexes are the counts by status, and keep the time of acceptance."""
    await stocked(redis, cable=1)
    await decide_one(store, await accepted(redis, an_order("a", cable=1)))
    await decide_one(store, await accepted(redis, an_order("b", cable=1)))
    await accepted(redis, an_order("c"))
    assert [await indexes_of(redis, order_id) for order_id in "abc"] == [
        ["created"],
        ["rejected"],
        ["accepted"],
    ]
    assert await redis.zscore("orders:created", "a") == AT


# --- broken entries -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken",
    ["many", "", "1e3", "1.0", " 5", "5 ", "+5", "0x10", "007", "-0", "--5", "9" * 16, "-" + "9" * 15, "5\n"],
    ids=repr,
)
async def test_a_stock_entry_that_is_no_integer_decides_nothing_and_changes_nothing(
    redis: Any, store: RedisDecisionStore, broken: str
) -> None:
    """An operator's slip is a reason to ask, not to take half an order."""
    await stocked(redis, cable=10, case=broken)
    event = await accepted(redis, an_order("a", cable=3, case=2))
    before = await everything(redis)
    decision = await decide_one(store, event)
    assert isinstance(decision, Undecidable)
    assert decision.reason == "broken_stock"
    assert "case" in decision.detail
    assert await everything(redis) == before


@pytest.mark.parametrize(("stock", "outcome"), [(10, "created"), (1, "rejected")])
async def test_from_its_decision_on_the_customer_is_to_be_told(
    redis: Any, store: RedisDecisionStore, stock: int, outcome: str
) -> None:
    """Once, by the time of the decision; not again when a redelivery asks after the customer was told."""
    await stocked(redis, cable=stock)
    event = await accepted(redis, an_order("a", cable=3))
    await decide_one(store, event)
    await decide_one(store, event)
    decided_at = float(await redis.hget("order:a", "decided_at"))
    assert await redis.zrange(keyspace.UNTOLD, 0, -1, withscores=True) == [
        (f"a:order.{outcome}.v1", decided_at)
    ]
    await redis.delete(keyspace.UNTOLD)
    await decide_one(store, event)
    assert not await redis.exists(keyspace.UNTOLD)


SHARED = (
    keyspace.PROCESSED_COUNT,
    keyspace.RESERVED,
    keyspace.SKUS,
    keyspace.orders_in(OrderStatus.ACCEPTED),
    keyspace.orders_in(OrderStatus.CREATED),
    keyspace.UNTOLD,
)


@pytest.mark.parametrize("key", ["inventory:case", "order:a", *SHARED])
async def test_a_key_of_the_wrong_type_decides_nothing_and_changes_nothing(
    redis: Any, store: RedisDecisionStore, key: str
) -> None:
    """Redis does not roll a script back, so every key is looked at before the first is written. A key
    that all orders share is no fault of this one: its message waits, and is not dead-lettered."""
    await stocked(redis, cable=10, case=10)
    event = await accepted(redis, an_order("a", cable=3, case=2))
    await redis.delete(key)
    await redis.rpush(key, "what?")
    before = await everything(redis)
    if key in SHARED:
        with pytest.raises(StoreUnavailable):
            await decide_one(store, event)
    else:
        assert isinstance(await decide_one(store, event), Undecidable)
    assert await everything(redis) == before


@pytest.mark.parametrize("field", ["cable", "case"])
async def test_a_broken_sum_of_reservations_decides_nothing(
    redis: Any, store: RedisDecisionStore, field: str
) -> None:
    """The books are checked before they are written too."""
    await stocked(redis, cable=10, case=10)
    await redis.hset(keyspace.RESERVED, field, "007")
    before = await everything(redis)
    assert isinstance(await decide_one(store, placed(an_order("a", cable=3, case=2))), Undecidable)
    assert await everything(redis) == before


async def test_a_broken_count_of_orders_decides_nothing(redis: Any, store: RedisDecisionStore) -> None:
    """It counts each order exactly once or not at all."""
    await stocked(redis, cable=10)
    await redis.set(keyspace.PROCESSED_COUNT, "1e3")
    before = await everything(redis)
    with pytest.raises(StoreUnavailable, match=keyspace.PROCESSED_COUNT):
        await decide_one(store, placed(an_order("a", cable=3)))
    assert await everything(redis) == before


async def test_a_broken_entry_is_the_fate_of_its_own_order(redis: Any, store: RedisDecisionStore) -> None:
    """Neighbours in the batch are decided."""
    await stocked(redis, cable=10, case="many")
    decisions = await store.decide(
        [placed(an_order("a", cable=1)), placed(an_order("b", case=1)), placed(an_order("c", cable=1))]
    )
    assert [type(decision) for decision in decisions] == [Created, Undecidable, Created]


async def test_a_repaired_entry_lets_the_order_be_decided(redis: Any, store: RedisDecisionStore) -> None:
    """Undecidable is not a decision."""
    await stocked(redis, case="many")
    event = placed(an_order("a", case=1))
    await decide_one(store, event)
    await stocked(redis, case=3)
    assert isinstance(await decide_one(store, event), Created)
    assert await redis.get("inventory:case") == "2"


# --- another order's message --------------------------------------------------------------------------------


@pytest.mark.parametrize("decided", [False, True], ids=["undecided", "decided"])
async def test_a_message_with_other_content_than_the_order_under_its_id_decides_nothing(
    redis: Any, store: RedisDecisionStore, decided: bool
) -> None:
    """The customer was promised what the record says; taking anything else would not be in the books."""
    await stocked(redis, cable=10, case=5)
    event = await accepted(redis, an_order("a", cable=3))
    if decided:
        await decide_one(store, event)
    before = await everything(redis)
    decision = await decide_one(store, placed(an_order("a", case=2)))
    assert isinstance(decision, Undecidable)
    assert decision.reason == "other_content"
    assert await everything(redis) == before
    assert isinstance(await decide_one(store, event), Created)
    assert await redis.mget("inventory:cable", "inventory:case") == ["7", "5"]


# --- missing records ----------------------------------------------------------------------------------------


async def test_a_missing_record_is_recreated_from_the_message(redis: Any, store: RedisDecisionStore) -> None:
    """A store that was rolled back is healed by what the broker still holds."""
    await stocked(redis, cable=10)
    order = an_order("a", email="a@example.com", cable=3)
    assert isinstance(await decide_one(store, placed(order)), Created)
    record = await record_of(redis, "a")
    assert (record.order, record.trace) == (order, TRACE)
    assert epoch_microseconds(record.accepted_at) == AT
    assert [step.step for step in record.timeline] == ["accepted", "recreated", "created"]
    assert await indexes_of(redis, "a") == ["created"]


async def test_a_message_too_old_to_be_recreated_is_unknown(redis: Any) -> None:
    """Its record may have been swept away after it was decided."""
    await stocked(redis, cable=10)
    before = await everything(redis)
    decision = await decide_one(store_recreating(redis, 60.0), placed(an_order("a")))
    assert isinstance(decision, Undecidable)
    assert decision.reason == "order_unknown"
    assert await everything(redis) == before


async def test_an_old_message_whose_record_is_there_is_decided(redis: Any) -> None:
    """An order that waited for weeks in an outage is as good as any."""
    await stocked(redis, cable=10)
    event = await accepted(redis, an_order("a"))
    assert isinstance(await decide_one(store_recreating(redis, 60.0), event), Created)
