"""Verifying orders that were moved and cancelled: sound while they move, and found out when tampered with."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from orderctl.verification.reading import RecordReader
from orderctl.verification.snapshot import SnapshotReader
from shared import keyspace
from shared.orders.model import OrderStatus
from tests.harness.examples import an_order, placed
from tests.harness.moving import WAY, moved
from tests.harness.shop import Shop, orders

CANCELLED, PROCESSING, SHIPPED = OrderStatus.CANCELLED, OrderStatus.PROCESSING, OrderStatus.SHIPPED
Tampering = Callable[[Any], Awaitable[object]]


@pytest.fixture
async def shop(redis: Any) -> Shop:
    """Orders of two cables: delivered, cancelled, created, in preparation, shipped, cancelled undecided."""
    shop = Shop(redis)
    await redis.set(keyspace.inventory("cable"), 100)
    await redis.hset(keyspace.SUPPLIED, "cable", 100)
    await shop.complete(*orders(5))
    await shop.accept(an_order("o6", cable=2))
    await shop.move("o1", *WAY)
    await shop.move("o2", CANCELLED)
    await shop.move("o4", PROCESSING)
    await shop.move("o5", PROCESSING, SHIPPED)
    await shop.move("o6", CANCELLED)
    return shop


async def test_what_moves_write_is_sound(shop: Shop) -> None:
    """Wherever the orders stand; a cancelled one has its pieces no more."""
    verdict = (await shop.verify()).verdict
    assert verdict.why == {}
    assert (verdict.orders, verdict.created, verdict.cancelled, verdict.told) == (6, 5, 2, 6)
    assert await shop.redis.hget(keyspace.RESERVED, "cable") == "8"


async def test_orders_that_move_while_they_are_counted_change_nothing(shop: Shop) -> None:
    """Each is read once, and what is given back after the cut counts as reserved at it."""
    await shop.accept(*orders(2, start=7))
    take = SnapshotReader.take

    async def take_then_move(self: SnapshotReader) -> Any:
        snapshot = await take(self)
        await shop.move("o3", CANCELLED)
        await shop.move("o4", SHIPPED)
        await shop.move("o7", CANCELLED)
        await shop.decide(an_order("o8", cable=2))
        await shop.move("o8", CANCELLED)
        return snapshot

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SnapshotReader, "take", take_then_move)
        verdict = (await shop.verify()).verdict
    assert verdict.faults() == {}
    assert (verdict.orders, verdict.changed_by_hand) == (8, [])


async def test_an_order_that_is_met_again_where_it_moved_to_is_counted_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two indexes that are read one after the other."""
    listed, read = RecordReader.listed, []

    async def listed_then_moved(self: Any, index: Any) -> Any:
        async for page in listed(self, index):
            yield page
        read.append(index)
        if index is OrderStatus.CREATED:
            await shop.move("o3", PROCESSING, SHIPPED)
        if index is PROCESSING:
            await shop.move("o4", CANCELLED)

    monkeypatch.setattr(RecordReader, "listed", listed_then_moved)
    verdict = (await shop.verify()).verdict
    assert verdict.faults() == {}
    assert verdict.orders == 6
    assert len(read) == len(set(read))


async def _each(*commands: Awaitable[object]) -> None:
    for command in commands:
        await command


TAMPERED: list[tuple[str, Tampering, dict[str, list[str]]]] = [
    (
        "stock given back twice",
        lambda redis: _each(redis.incrby("inventory:cable", 2), redis.hincrby("stock.reserved", "cable", -2)),
        {"oversold": ["cable"]},
    ),
    (
        "stock never given back",
        lambda redis: _each(
            redis.incrby("inventory:cable", -2),
            redis.hincrby("stock.reserved", "cable", 2),
            redis.hdel("order:o2", "released"),
            redis.set("stock.releases", 0),
        ),
        {"unexpected": ["o2"]},
    ),
    (
        "stock counted as given back that was not",
        lambda redis: redis.hincrby("stock.reserved", "cable", 2),
        {"duplicated": ["cable"]},
    ),
    (
        "a move that is yet to be announced",
        lambda redis: redis.zadd(keyspace.MOVES, {"o4:processing": 1}),
        {"unannounced": ["o4"]},
    ),
    (
        "a move that nobody was told of",
        lambda redis: redis.delete("notif:o5:order.shipped.v1"),
        {"unannounced": ["o5"]},
    ),
    (
        "a cancellation that nobody was told of",
        lambda redis: redis.delete("notif:o6:order.cancelled.v1"),
        {"unannounced": ["o6"]},
    ),
    (
        "created though it was told as cancelled",
        lambda redis: _each(
            redis.hset("order:o2", "status", "created"),
            redis.zadd("orders:created", {"o2": 1}),
            redis.zrem("orders:cancelled", "o2"),
        ),
        {"unexpected": ["o2"]},
    ),
    (
        "told created though it was cancelled before",
        lambda redis: redis.set("notif:o6:order.created.v1", "sent"),
        {"unexpected": ["o6"]},
    ),
    (
        "told delivered though it is shipped",
        lambda redis: redis.set("notif:o5:order.delivered.v1", "sent"),
        {"unexpected": ["o5"]},
    ),
    (
        "a notification about an earlier step than was told",
        lambda redis: redis.hset("notifications:o5", "event_id", "o5:order.created.v1"),
        {"unexpected": ["o5"]},
    ),
]


@pytest.mark.parametrize(("bug", "tamper", "found"), TAMPERED, ids=[bug for bug, _, _ in TAMPERED])
async def test_tampering_with_moves_is_found(
    shop: Shop, bug: str, tamper: Tampering, found: dict[str, list[str]]
) -> None:
    """Whatever a bug could have written, and the oracle has to find."""
    await tamper(shop.redis)
    assert await shop.faults() == found, bug


async def test_a_customer_who_heard_of_a_later_step_need_not_hear_of_the_earlier(shop: Shop) -> None:
    """The last step is what counts."""
    await shop.redis.delete("notif:o1:order.created.v1", "notif:o1:order.shipped.v1")
    assert await shop.faults() == {}


async def test_what_is_announced_again_is_the_last_step(shop: Shop) -> None:
    """Of a cancelled order its cancellation, and never a message that could create it."""
    for event in ("o2:order.cancelled.v1", "o6:order.cancelled.v1", "o4:order.created.v1"):
        await shop.redis.delete(keyspace.notification_claim(event))
    await shop.verify(republish=True)
    assert await shop.redis.zrange(keyspace.OUTBOX, 0, -1) == ["o4"]
    assert set(await shop.redis.zrange(keyspace.MOVES, 0, -1)) == {"o2:cancelled", "o6:cancelled"}


async def test_an_order_that_was_cancelled_while_its_message_waits_is_not_republished(shop: Shop) -> None:
    """It was undecided when it was found, and is over now."""
    await shop.accept(an_order("o7", cable=2))
    assert (await shop.faults()) == {"stuck": ["o7"]}
    await moved(shop.redis, "o7", CANCELLED)
    await shop.redis.zrem(keyspace.MOVES, "o7:cancelled")
    outcome = await shop.verify(republish=True)
    assert outcome.republished == ["o7"]
    assert await shop.redis.zrange(keyspace.OUTBOX, 0, -1) == []
    (decision,) = await shop.decisions.decide([placed(an_order("o7", cable=2))])
    assert type(decision).__name__ == "Cancelled"
