"""Orders of a customer who is gone: the address leaves them at their end, and the books stay balanced."""

from typing import Any

import pytest

from notifier.domain import notification_of
from notifier.ports import AlreadySent, Attempt, Claimed
from shared.messages import Event, EventData, content_fingerprint
from shared.messaging.retry import Bury, History
from shared.orders.decisions import Rejected, event_of
from shared.orders.model import OrderStatus
from shared.orders.redis import erasure
from shared.orders.redis.erasure import RedisErasedOrders, RedisOrderErasure
from tests.harness.examples import TRACE, an_order, placed
from tests.harness.gateway import a_placement
from tests.harness.moving import ended
from tests.harness.shop import SECONDS, Shop
from tests.harness.stores import as_service

EMAIL = "ann@example.com"


@pytest.fixture
async def shop(redis: Any) -> Shop:
    """A shop that has sold out, and three orders of Ann's: told, untold, undecided."""
    await redis.set("inventory:cable", 0)
    shop = Shop(redis)
    for order_id in ("told", "untold", "undecided"):
        order = an_order(order_id, cable=2, email=EMAIL)
        await shop.orders.accept(a_placement(order, customer="ann"))
        await redis.zrem("outbox", order_id)
        if order_id != "undecided":
            await shop.decide(order, tell=order_id == "told")
    return shop


def erasing(redis: Any) -> RedisOrderErasure:
    """What accounts asks until nothing is left."""
    return RedisOrderErasure(as_service(redis, "accounts"), timeout_seconds=SECONDS, retention_seconds=60)


async def event_about(shop: Shop, order_id: str) -> Event[EventData]:
    """What was announced of a rejected order."""
    order = an_order(order_id, cable=2, email=EMAIL)
    (decision,) = await shop.decisions.decide([placed(order)])
    assert isinstance(decision, Rejected)
    return event_of(order, decision, TRACE)


async def attempt_at(shop: Shop, order_id: str, owner: str) -> Attempt:
    """What a notifier does that gets it."""
    event = await event_about(shop, order_id)
    return Attempt(notification=notification_of(event), owner=owner, channel="log")


async def addresses(shop: Shop) -> dict[str, str | None]:
    """Where each order is said to go."""
    records = await shop.orders.get_many(["told", "untold", "undecided"])
    return {record.order.id: record.order.email for record in records if record is not None}


async def test_an_address_leaves_the_orders_whose_customers_were_told(redis: Any, shop: Shop) -> None:
    """The others keep it until then."""
    await redis.hset("notifications:told", "last_error", f"550 no such user {EMAIL}")
    assert not await erasing(redis).erase("ann")
    assert await addresses(shop) == {"told": None, "untold": EMAIL, "undecided": EMAIL}
    assert await redis.hget("notifications:told", "last_error") is None
    assert await redis.zrange("orders:customer:ann", 0, -1) == ["untold", "undecided"]
    assert not await erasing(redis).erase("ann")
    await shop.decide(an_order("undecided", cable=2, email=EMAIL))
    assert not await erasing(redis).erase("ann")
    assert await addresses(shop) == {"told": None, "untold": EMAIL, "undecided": None}


async def test_an_order_that_can_move_on_keeps_its_address(redis: Any, shop: Shop) -> None:
    """Its customer is to hear of that; the address leaves it at its end."""
    await redis.set("inventory:cable", 100)
    await shop.decide(an_order("undecided", cable=2, email=EMAIL))
    await erasing(redis).erase("ann")
    assert (await addresses(shop))["undecided"] == EMAIL
    await ended(redis, "undecided", OrderStatus.CANCELLED)
    await erasing(redis).erase("ann")
    assert (await addresses(shop))["undecided"] is None


async def test_the_books_balance_without_the_address(redis: Any, shop: Shop) -> None:
    """What was reserved, decided and told is as it was."""
    before = await shop.faults()
    await erasing(redis).erase("ann")
    assert await shop.faults() == before


async def test_orders_that_are_gone_or_anothers_leave_the_index_alone(redis: Any, shop: Shop) -> None:
    """Nothing of another customer's is touched."""
    await redis.delete("orders:customer:ann")
    await redis.zadd("orders:customer:bob", {"told": 1, "gone": 2})
    assert await erasing(redis).erase("bob")
    assert (await addresses(shop))["told"] == EMAIL
    assert await redis.exists("orders:customer:bob") == 0


async def test_a_notification_that_failed_is_not_tried_again(redis: Any, shop: Shop) -> None:
    """Its message may wait in a retry tier, or be redriven: the notifier passes over it. The books stay."""
    attempt = await attempt_at(shop, "untold", "first")
    assert isinstance((await shop.notifications.claim([attempt]))[0], Claimed)
    await shop.notifications.release([attempt], f"550 no such user {EMAIL}")
    await shop.notifications.buried(
        await event_about(shop, "untold"), Bury(history=History(attempts=1, reason="undeliverable"))
    )
    before = await shop.faults()
    assert not await erasing(redis).erase("ann")
    assert (await addresses(shop))["untold"] is None
    assert isinstance((await shop.notifications.claim([attempt]))[0], AlreadySent)
    assert await redis.hget("notifications:untold", "status") == "failed"
    assert await shop.faults() == before


async def test_an_order_of_which_somebody_is_being_told_keeps_its_address(redis: Any, shop: Shop) -> None:
    """As one that was redriven: whoever has it in hand would put it among the dead letters again."""
    attempt = await attempt_at(shop, "untold", "first")
    await redis.zrem("notifications.untold", attempt.notification.id)
    await shop.notifications.claim([attempt])
    assert not await erasing(redis).erase("ann")
    assert (await addresses(shop))["untold"] == EMAIL
    await shop.notifications.mark_sent([attempt])
    assert not await erasing(redis).erase("ann")
    assert (await addresses(shop))["untold"] is None


async def test_erased_orders_are_listed_until_their_letters_are_gone(
    redis: Any, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With their content, since another order may have had the id; and no more of them than can be listed."""
    erased = RedisErasedOrders(as_service(redis, "dashboard"), timeout_seconds=SECONDS)
    await erasing(redis).erase("ann")
    content = f"told:{content_fingerprint(an_order('told', cable=2, email=EMAIL))}"
    ages = await erased.ages()
    assert list(ages) == [content]
    assert 0 <= ages[content] < 60
    await shop.decide(an_order("undecided", cable=2, email=EMAIL))
    monkeypatch.setattr(erasure, "MOST_LISTED", 1)
    assert not await erasing(redis).erase("ann")
    assert (await addresses(shop))["undecided"] == EMAIL
    await erased.forget(ages)
    assert not await erasing(redis).erase("ann")
    assert (await addresses(shop))["undecided"] is None
