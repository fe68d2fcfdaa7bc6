"""Orders whose retention is over leave, their sums stay, over the real script on both stores."""

from typing import Any

import pytest

from shared import keyspace
from shared.errors import StoreUnavailable
from shared.messages import Order
from shared.messaging.retry import Bury, History
from shared.orders.decisions import Created, Rejected, Undecidable
from shared.orders.model import OrderStatus
from shared.orders.redis import sweep
from shared.orders.redis.decisions import RedisDecisionStore
from shared.orders.redis.sweep import LEASE_SECONDS, SWEEP_BATCH, UNDECIDED, Sweep
from shared.redis.client import Redis
from shared.redis.lease import Lease
from tests.harness.examples import AT, an_order, placed
from tests.harness.gateway import a_placement, order_store
from tests.harness.moving import ended
from tests.harness.stores import as_service

RETENTION = 600.0
A_CENTURY = 100 * 365 * 86_400.0


def lease_of(redis: Redis) -> Lease:
    """One more processor's claim to sweep."""
    return Lease(as_service(redis, "order_processor"), keyspace.SWEEP_LEASE, timeout_seconds=5.0)


def sweep_of(redis: Redis, lease: Lease | None = None) -> Sweep:
    """A sweep that keeps orders for ten minutes."""
    return Sweep(
        as_service(redis, "order_processor"),
        timeout_seconds=5.0,
        retention_seconds=RETENTION,
        lease=lease or lease_of(redis),
    )


async def decided(redis: Any, *orders: Order, old: bool = True) -> None:
    """Accepts orders, brings them to their end, tells their customers, and makes them older than that."""
    gateway = order_store(redis, outbox_limit=10_000)
    deciding = RedisDecisionStore(
        as_service(redis, "order_processor"), timeout_seconds=5.0, oldest_recreated_seconds=A_CENTURY
    )
    for order in orders:
        await gateway.accept(a_placement(order, key=f"key-{order.id}"))
        (decision,) = await deciding.decide([placed(order)])
        assert isinstance(decision, Created | Rejected)
        outcome = "created" if isinstance(decision, Created) else "rejected"
        if old and outcome == "created":
            await ended(redis, order.id)
            await aged(redis, order.id, "delivered")
        elif old:
            await aged(redis, order.id, outcome)
            await redis.zrem(keyspace.UNTOLD, f"{order.id}:order.{outcome}.v1")


async def aged(redis: Any, order_id: str, status: str) -> None:
    """Makes an order look as if it had ended a day ago."""
    a_day = 86_400 * 1_000_000
    for field in ("accepted_at", "decided_at", "moved_at"):
        before = await redis.hget(keyspace.order(order_id), field)
        if before:
            await redis.hset(keyspace.order(order_id), field, int(before) - a_day)
    await redis.zincrby(f"orders:{status}", -a_day, order_id)


async def archive(redis: Any) -> dict[str, str]:
    """What is left of swept orders."""
    kept: dict[str, str] = await redis.hgetall(keyspace.ARCHIVE)
    return kept


async def test_an_old_order_leaves_with_everything_that_was_kept_for_it(redis: Any) -> None:
    """Its record, its place in the index, its claim, its key and its notification."""
    await redis.set("inventory:cable", 10)
    await decided(redis, an_order("a", cable=4))
    await redis.hset("notifications:a", "status", "sent")
    before = set(await redis.keys("*"))
    assert await sweep_of(redis).sweep_once() == 1
    gone = {"order:a", "orders:delivered", "idemp:a", "idempkey:-:key-a", "notifications:a"}
    assert before - set(await redis.keys("*")) == gone


async def test_orders_that_must_stay_keep_no_others_of_their_time(
    redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client chooses the time of scheduled orders: more than a batch may share one."""
    monkeypatch.setattr(sweep, "SWEEP_BATCH", 2)
    names = [f"o{number}" for number in range(7)]
    await redis.set("inventory:cable", 10)
    await decided(redis, *(an_order(name, cable=1) for name in names))
    for name in names:
        await redis.zadd("orders:delivered", {name: 1})
    for name in names[:5]:
        await redis.zadd(keyspace.MOVES, {f"{name}:delivered": 1})
    assert await sweep_of(redis).sweep_once() == 2
    assert await redis.zrange("orders:delivered", 0, -1) == names[:5]


async def test_a_key_that_an_older_version_named_leaves_with_its_order_alone(redis: Any) -> None:
    """The same name may be that of another order's key today, which stays."""
    await redis.set("inventory:cable", 10)
    await decided(redis, an_order("a", cable=1), an_order("b", cable=1))
    await redis.rename("idempkey:-:key-a", "idempkey:key-a")
    await redis.hset("idempkey:key-b", "order_id", "c")
    assert await sweep_of(redis).sweep_once() == 2
    assert await redis.keys("idempkey:*") == ["idempkey:key-b"]


async def test_the_books_still_balance(redis: Any) -> None:
    """Reserved stock is that of the orders that are kept, plus the archive's."""
    await redis.set("inventory:cable", 10)
    await redis.set("inventory:case", 10)
    orders = [an_order("a", cable=4, case=1), an_order("b", cable=3), an_order("c", cable=99)]
    await decided(redis, *orders)
    await decided(redis, an_order("young", cable=1), old=False)
    assert await sweep_of(redis).sweep_once() == 3
    assert await archive(redis) == {"delivered": "2", "rejected": "1", "sku:cable": "7", "sku:case": "1"}
    assert await redis.hgetall(keyspace.RESERVED) == {"cable": "8", "case": "1"}
    assert await redis.get(keyspace.PROCESSED_COUNT) == "4"
    assert await redis.exists("order:young") == 1


async def test_sweeping_again_changes_nothing(redis: Any) -> None:
    """Two processors may overlap for a moment."""
    await redis.set("inventory:cable", 10)
    await decided(redis, an_order("a"))
    await sweep_of(redis).sweep_once()
    before = await archive(redis)
    assert await sweep_of(redis).sweep_once() == 0
    assert await archive(redis) == before


async def test_undecided_and_dead_orders_are_kept_for_ever(redis: Any) -> None:
    """Nobody has been told anything about them yet."""
    for order_id in "ab":
        await order_store(redis).accept(a_placement(an_order(order_id)))
        await aged(redis, order_id, "accepted")
    store = RedisDecisionStore(
        as_service(redis, "order_processor"), timeout_seconds=5.0, oldest_recreated_seconds=A_CENTURY
    )
    await store.buried(placed(an_order("b")), Bury(history=History(attempts=1, reason="broken_stock")))
    assert await sweep_of(redis).sweep_once() == 0
    assert await redis.exists("order:a", "order:b") == 2


async def test_an_order_whose_customer_is_yet_to_be_told_is_kept(redis: Any) -> None:
    """The notifier may have been away for as long; `verify` still sees the order."""
    await redis.set("inventory:cable", 10)
    await decided(redis, an_order("a", cable=4), an_order("b", cable=4))
    await redis.zadd(keyspace.UNTOLD, {"a:order.delivered.v1": 1, "b:order.rejected.v1": 1})
    assert await sweep_of(redis).sweep_once() == 1
    assert await redis.exists("order:a", "order:b") == 1
    await redis.zrem(keyspace.UNTOLD, "a:order.delivered.v1")
    assert await sweep_of(redis).sweep_once() == 1


async def test_a_created_order_is_kept_until_it_has_come_to_its_end(redis: Any) -> None:
    """However old it is: it may yet be cancelled, and its stock given back. Then it waits for its event."""
    await redis.set("inventory:cable", 10)
    await decided(redis, an_order("a", cable=4), old=False)
    await aged(redis, "a", "created")
    assert await sweep_of(redis).sweep_once() == 0
    await ended(redis, "a")
    await aged(redis, "a", "delivered")
    await redis.zadd(keyspace.MOVES, {"a:delivered": 1})
    assert await sweep_of(redis).sweep_once() == 0
    await redis.delete(keyspace.MOVES)
    assert await sweep_of(redis).sweep_once() == 1


async def test_cancelled_orders_leave_no_stock_behind(redis: Any) -> None:
    """One that was never decided is counted once more: there is no decision of it."""
    await redis.set("inventory:cable", 10)
    await decided(redis, an_order("a", cable=4), old=False)
    await order_store(redis).accept(a_placement(an_order("b", cable=4)))
    for order_id in "ab":
        await ended(redis, order_id, OrderStatus.CANCELLED)
        await aged(redis, order_id, "cancelled")
    assert await sweep_of(redis).sweep_once() == 2
    assert await archive(redis) == {"cancelled": "2", UNDECIDED: "1"}
    assert await redis.hgetall(keyspace.RESERVED) == {"cable": "0"}
    assert await redis.get("inventory:cable") == "10"


async def test_an_order_that_was_decided_late_is_kept_for_its_whole_retention(redis: Any) -> None:
    """It was accepted long ago and decided just now, after an outage."""
    await redis.set("inventory:cable", 10)
    await decided(redis, an_order("a"), old=False)
    await redis.zincrby("orders:created", -86_400 * 1_000_000, "a")
    assert await sweep_of(redis).sweep_once() == 0


async def test_unreadable_records_are_kept_and_hide_no_other(redis: Any) -> None:
    """What nobody can read nobody may remove."""
    await redis.set("inventory:cable", 10)
    await decided(redis, *(an_order(order_id) for order_id in "abcd"))
    await redis.hset("order:a", "order", "{")
    await redis.hset("order:b", "moved_at", "9" * 30)
    await redis.delete("order:c")
    await redis.set("order:c", "of the wrong type")
    assert await sweep_of(redis).sweep_once() == 1
    assert await redis.exists("order:a", "order:b", "order:c", "order:d") == 3


@pytest.mark.parametrize("broken", ["delivered", "sku:cable", "sku:case"])
async def test_a_broken_sum_keeps_the_order_instead_of_half_of_it(redis: Any, broken: str) -> None:
    """Nothing is added to the other sums, however often the sweep comes by."""
    await redis.set("inventory:cable", 10)
    await redis.set("inventory:case", 10)
    await decided(redis, an_order("a", cable=1, case=1))
    await redis.hset(keyspace.ARCHIVE, broken, "many")
    for _ in range(2):
        assert await sweep_of(redis).sweep_once() == 0
    assert await archive(redis) == {broken: "many"}
    assert await redis.exists("order:a") == 1


async def test_an_index_of_another_type_stops_the_sweep_and_not_its_service(redis: Any) -> None:
    """It is waited out like a store that is away, and said in the log."""
    await redis.set("orders:delivered", "of the wrong type")
    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        await sweep_of(redis).sweep_once()


async def test_a_message_of_a_swept_order_is_not_decided_again(redis: Any) -> None:
    """Its stock was taken once, and its record is no proof any more: somebody has to look."""
    await redis.set("inventory:cable", 10)
    await decided(redis, an_order("a", cable=4))
    await sweep_of(redis).sweep_once()
    store = RedisDecisionStore(
        as_service(redis, "order_processor"), timeout_seconds=5.0, oldest_recreated_seconds=RETENTION / 2
    )
    (decision,) = await store.decide([placed(an_order("a", cable=4), at=AT)])
    assert isinstance(decision, Undecidable)
    assert decision.reason == "order_unknown"
    assert await redis.get("inventory:cable") == "6"


async def test_what_an_older_version_told_leaves_the_list_of_the_untold(redis: Any) -> None:
    """It told or gave up without knowing the list. Those of swept orders leave too; others stay."""
    await redis.set("inventory:cable", 1_000)
    await decided(redis, *(an_order(order_id) for order_id in "abcef"), old=False)
    assert await redis.zcard(keyspace.UNTOLD) == 5
    await redis.mset(
        {"notif:a:order.created.v1": "sent:unconfirmed", "notif:b:order.created.v1": "sending:c"}
    )
    await redis.hset("notifications:c", mapping={"event_id": "c:order.created.v1", "status": "failed"})
    await redis.hset("notifications:e", mapping={"event_id": "e:order.shipped.v1", "status": "failed"})
    await redis.delete("order:f")
    assert await sweep_of(redis).forget_told() == 3
    assert await redis.zrange(keyspace.UNTOLD, 0, -1) == ["b:order.created.v1", "e:order.created.v1"]
    assert await sweep_of(redis).forget_told() == 0


async def test_a_long_list_of_those_that_were_told_is_cleared_at_once(redis: Any) -> None:
    """As after a rolling upgrade; a broken record keeps its own place alone, and an empty list is none."""
    assert await sweep_of(redis).forget_told() == 0
    events = {f"o{number}:order.created.v1": number for number in range(2 * SWEEP_BATCH + 1)}
    await redis.zadd(keyspace.UNTOLD, events)
    await redis.set("notifications:o1", "of the wrong type")
    assert await sweep_of(redis).forget_told() == len(events) - 1
    assert await redis.zrange(keyspace.UNTOLD, 0, -1) == ["o1:order.created.v1"]


async def test_a_sweep_that_has_lost_its_lease_stops_after_its_batch(redis: Any) -> None:
    """Two never work through the same orders for long."""
    await redis.set("inventory:cable", 1_000)
    await decided(redis, *(an_order(f"o{number}") for number in range(SWEEP_BATCH + 1)))
    await lease_of(redis).hold(LEASE_SECONDS)
    assert await sweep_of(redis).sweep_once() == SWEEP_BATCH


@pytest.mark.parametrize("follower", keyspace.FOLLOWED)
async def test_an_order_stays_until_all_followers_have_its_last_step(redis: Any, follower: str) -> None:
    """The record is what one that was away goes by."""
    await redis.set("inventory:cable", 10)
    await decided(redis, an_order("a", cable=1))
    ((first, _), *_, (last, _)) = await redis.xrange(keyspace.LOG)
    for key in keyspace.FOLLOWED.values():
        await redis.set(key, last)
    await redis.set(keyspace.FOLLOWED[follower], first)
    assert await sweep_of(redis).sweep_once() == 0
    await redis.set(keyspace.FOLLOWED[follower], last)
    assert await sweep_of(redis).sweep_once() == 1


async def test_for_want_of_memory_orders_leave_before_their_time(
    redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest first, no more than it takes, and never before half of their time or the ledger has them."""
    monkeypatch.setattr(sweep, "SWEEP_BATCH", 1)
    used = [0.9]

    async def memory_used(*_: object, **__: object) -> float:
        return used[0] - 0.1 * int((await redis.hget(keyspace.ARCHIVE, "delivered")) or 0)

    monkeypatch.setattr(sweep, "memory_used", memory_used)
    await redis.set("inventory:cable", 10)
    for name in ("a", "b", "c", "d"):
        await decided(redis, an_order(name, cable=1))
    keeping = Sweep(
        as_service(redis, "order_processor"),
        timeout_seconds=5.0,
        retention_seconds=1.5 * 86_400,
        lease=lease_of(redis),
    )
    assert await keeping.sweep_once() == 2
    assert (await redis.hgetall(keyspace.ARCHIVE))["delivered"] == "2"
    assert [name for name in "abcd" if await redis.exists(f"order:{name}")] == ["c", "d"]
    used[0] = 2.0
    await redis.set(keyspace.LEDGER_POSITION, "1-1")
    assert await keeping.sweep_once() == 0
    await redis.delete(keyspace.LEDGER_POSITION)
    await decided(redis, an_order("e", cable=1), old=False)
    await ended(redis, "e")
    assert await keeping.sweep_once() == 2
    assert await redis.exists("order:e")


async def test_an_id_that_is_used_again_is_told_again(redis: Any) -> None:
    """What was noted of telling the order before goes with it."""
    await redis.set("inventory:cable", 10)
    await decided(redis, an_order("a", cable=1))
    await redis.set(keyspace.notification_claim("a:order.created.v1"), "sent")
    assert await sweep_of(redis).sweep_once() == 1
    assert await redis.keys("notif:*") == []
