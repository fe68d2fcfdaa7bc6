"""What new orders may take of a store whose memory runs short."""

from dataclasses import replace
from typing import Any

import pytest

from api_gateway.budget import ITEM_BYTES, ORDER_BYTES, StoreBudget, size_of
from shared.messages import Order, OrderItem
from shared.orders.placement import Accepted, Duplicate, OutboxFull
from shared.redis.client import Redis
from tests.harness.examples import an_order
from tests.harness.gateway import a_placement, order_store
from tests.harness.stores import as_service

MEGABYTE = 1_000_000
SMALL = an_order("small")
LARGE = Order(id="large", items=tuple(OrderItem(sku=f"sku{number}", qty=1) for number in range(100)))


class Told:
    """A store that tells how much of its memory it uses, or fails."""

    def __init__(self, used: int, limit: int) -> None:
        self.answer: Any = {"used_memory": used, "maxmemory": limit}

    async def info(self, _: str) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def budget_of(used: int, limit: int = 100 * MEGABYTE, **stored: int) -> StoreBudget:
    """A budget that has looked at such a store, in which clients have stored so many large orders each."""
    store: Any = Told(used, limit)
    budget = StoreBudget(store, timeout_seconds=1.0)
    await budget.look()
    for client, count in stored.items():
        for _ in range(count):
            budget.stored(client, LARGE)
    return budget


@pytest.mark.parametrize(
    ("used", "limit"), [(69 * MEGABYTE, 100 * MEGABYTE), (69 * MEGABYTE, 0), (0, MEGABYTE)]
)
async def test_where_there_is_memory_nothing_is_counted(used: int, limit: int) -> None:
    """A single busy client, such as a shop's own front end, has all of it."""
    budget = await budget_of(used, limit, busy=10_000)
    assert budget.has_room("busy", LARGE)


async def test_who_took_most_is_refused_first() -> None:
    """The others go on, with large orders too."""
    budget = await budget_of(71 * MEGABYTE, greedy=6_000, other=10)
    assert not budget.has_room("greedy", LARGE)
    assert not budget.has_room("greedy", SMALL)
    assert budget.has_room("other", LARGE)
    assert budget.has_room("new", LARGE)


async def test_large_orders_are_refused_before_small_ones() -> None:
    """Where they come from does not matter then: a client may have many addresses."""
    budget = await budget_of(86 * MEGABYTE)
    assert not budget.has_room("new", LARGE)
    assert budget.has_room("new", SMALL)


async def test_a_store_that_is_full_answers_for_itself() -> None:
    """It says that it is out of memory, and it may be right again before the next look."""
    assert (await budget_of(101 * MEGABYTE, greedy=6_000)).has_room("greedy", LARGE)


async def test_one_client_leaves_half_of_what_is_left_to_the_others() -> None:
    """However small its orders are."""
    used, limit = 70 * MEGABYTE, 100 * MEGABYTE
    store: Any = Told(used, limit)
    budget = StoreBudget(store, timeout_seconds=1.0)
    taken = 0
    for _ in range(limit // size_of(SMALL)):
        store.answer = {"used_memory": used + taken, "maxmemory": limit}
        await budget.look()
        if not budget.has_room("greedy", SMALL):
            break
        budget.stored("greedy", SMALL)
        taken += size_of(SMALL)
    assert 9 * MEGABYTE < taken <= 10 * MEGABYTE
    assert budget.has_room("other", SMALL)


async def test_what_was_stored_long_ago_counts_less() -> None:
    """And clients of whom little is left are forgotten, so that their number is bounded."""
    budget = await budget_of(80 * MEGABYTE, greedy=1_000)
    assert not budget.has_room("greedy", SMALL)
    budget.halve()
    assert budget.has_room("greedy", SMALL)
    for number in range(20_000):
        budget.stored(f"client{number}", SMALL)
    for _ in range(20):
        budget.halve()
    assert not budget._lately  # the one thing to be seen from outside is memory that is not taken


async def test_a_store_that_does_not_tell_changes_nothing(redis: Redis) -> None:
    """What was known last holds; a store that never tells has room."""
    budget = await budget_of(86 * MEGABYTE)
    budget._redis.answer = ConnectionResetError()  # type: ignore[attr-defined]  # the fake's
    await StoreBudget(as_service(redis, "api_gateway"), timeout_seconds=5.0).look()
    assert not budget.has_room("new", LARGE)


async def test_the_size_of_an_order_is_about_what_the_store_takes(redis: Any) -> None:
    """Rather more than less for long SKUs."""
    assert size_of(SMALL) == ORDER_BYTES + ITEM_BYTES
    assert size_of(LARGE) == ORDER_BYTES + 100 * ITEM_BYTES


@pytest.mark.parametrize("other", [False, True], ids=["the same content", "other content"])
async def test_without_room_only_known_orders_are_answered(redis: Redis, other: bool) -> None:
    """A client whose answer was lost learns that its order is there; a new order leaves no trace."""
    store = order_store(redis)
    known, again = an_order("known"), an_order("known", cable=2 if other else 1)
    await store.accept(a_placement(known))
    before = sorted(await redis.keys())
    result = (await store.accept(without_room(again))).result
    assert isinstance(result, Duplicate)
    assert result.same_content is not other
    with pytest.raises(OutboxFull):
        await store.accept(without_room(an_order("new")))
    assert sorted(await redis.keys()) == before
    assert isinstance((await store.accept(a_placement(an_order("new")))).result, Accepted)


def without_room(order: Order) -> Any:
    """A placement of the order while the store has no room for it."""
    return replace(a_placement(order), has_room=False)


async def test_a_store_that_tells_nothing_of_its_memory_ends_no_gateway() -> None:
    """What passes for Redis, or a proxy before it, may leave out anything."""
    store: Any = Told(0, 0)
    store.answer = {}
    budget = StoreBudget(store, timeout_seconds=1.0)
    await budget.look()
    assert budget.has_room("any", LARGE)
