"""Orders of a customer who is gone: the address leaves them at their end, and the books stay balanced."""

from typing import Any

import pytest

from shared.orders.redis.erasure import RedisOrderErasure
from tests.harness.examples import an_order
from tests.harness.gateway import a_placement
from tests.harness.shop import SECONDS, Shop

EMAIL = "ann@example.com"


@pytest.fixture
async def shop(redis: Any) -> Shop:
    """A shop with cables, and three orders of Ann's: told, untold, undecided."""
    await redis.set("inventory:cable", 100)
    shop = Shop(redis)
    for order_id in ("told", "untold", "undecided"):
        order = an_order(order_id, cable=2, email=EMAIL)
        await shop.orders.accept(a_placement(order, customer="ann"))
        await redis.zrem("outbox", order_id)
        if order_id != "undecided":
            await shop.decide(order, tell=order_id == "told")
    return shop


async def addresses(shop: Shop) -> dict[str, str | None]:
    """Where each order is said to go."""
    records = await shop.orders.get_many(["told", "untold", "undecided"])
    return {record.order.id: record.order.email for record in records if record is not None}


async def test_an_address_leaves_the_orders_whose_customers_were_told(redis: Any, shop: Shop) -> None:
    """The others keep it until then."""
    erasure = RedisOrderErasure(redis, timeout_seconds=SECONDS)
    await redis.hset("notifications:told", "last_error", f"550 no such user {EMAIL}")
    assert not await erasure.erase("ann")
    assert await addresses(shop) == {"told": None, "untold": EMAIL, "undecided": EMAIL}
    assert await redis.hget("notifications:told", "last_error") is None
    assert await redis.zrange("orders:customer:ann", 0, -1) == ["untold", "undecided"]
    assert not await erasure.erase("ann")
    await shop.decide(an_order("undecided", cable=2, email=EMAIL))
    assert not await erasure.erase("ann")
    assert await addresses(shop) == {"told": None, "untold": EMAIL, "undecided": None}


async def test_the_books_balance_without_the_address(redis: Any, shop: Shop) -> None:
    """What was reserved, decided and told is as it was."""
    before = await shop.faults()
    await RedisOrderErasure(redis, timeout_seconds=SECONDS).erase("ann")
    assert await shop.faults() == before


async def test_orders_that_are_gone_or_anothers_leave_the_index_alone(redis: Any, shop: Shop) -> None:
    """Nothing of another customer's is touched."""
    await redis.delete("orders:customer:ann")
    await redis.zadd("orders:customer:bob", {"told": 1, "gone": 2})
    assert await RedisOrderErasure(redis, timeout_seconds=SECONDS).erase("bob")
    assert (await addresses(shop))["told"] == EMAIL
    assert await redis.exists("orders:customer:bob") == 0
