"""Orders of an older version: their trouble was a status, and its scripts could be cut anywhere."""

from typing import Any

import pytest

from shared import keyspace
from shared.messages import Order, content_fingerprint, encode_order
from shared.orders.decisions import Created
from shared.orders.model import OrderStatus, Trouble
from shared.orders.ports import OrderFilter
from shared.orders.redis.store import RedisOrderStore
from shared.orders.redis.sweep import Sweep
from shared.redis.client import Redis
from shared.redis.lease import Lease
from tests.contract.test_decision_store_failures import buried, waiting
from tests.harness.decisions import (
    A_CENTURY,
    decide_one,
    everything,
    indexes_of,
    record_of,
    stocked,
    store_recreating,
)
from tests.harness.examples import AT, an_order, placed
from tests.harness.gateway import order_store
from tests.harness.stores import as_service


async def kept(redis: Any, order: Order, trouble: str) -> None:
    """What the delay script of before wrote."""
    fields: dict[str, str | int] = {
        "id": order.id,
        "status": trouble,
        "order": encode_order(order),
        "fingerprint": content_fingerprint(order),
        "accepted_at": AT,
        "correlation_id": "c",
        "reason": "handler_error",
        "attempts": 2,
        "noted": f"{trouble} 2 {AT}\n",
        "timeline": f"{AT}\taccepted\t\t\n{AT + 1}\t{trouble}\thandler_error\t2",
    }
    await redis.hset(keyspace.order(order.id), mapping=fields)
    await redis.zadd(f"orders:{trouble}", {order.id: AT})


def sweep(redis: Redis) -> Sweep:
    """The job of a processor that starts."""
    lease = Lease(as_service(redis, "order_processor"), keyspace.SWEEP_LEASE, timeout_seconds=5.0)
    return Sweep(
        as_service(redis, "order_processor"), timeout_seconds=5.0, retention_seconds=A_CENTURY, lease=lease
    )


@pytest.fixture
def store(redis: Redis) -> RedisOrderStore:
    """The gateway's view."""
    return order_store(redis)


@pytest.mark.parametrize("trouble", Trouble)
async def test_trouble_that_was_a_status_is_migrated_once(
    redis: Any, store: RedisOrderStore, trouble: Trouble
) -> None:
    """Then the order is accepted, and found under its trouble and its status."""
    await kept(redis, an_order("a", cable=1), trouble.value)
    assert (await record_of(redis, "a")).trouble is trouble
    assert await sweep(redis).migrate_once() == 1
    after = await everything(redis)
    assert await sweep(redis).migrate_once() == 0
    assert await everything(redis) == after
    assert await redis.hget("order:a", "status") == "accepted"
    assert await indexes_of(redis, "a") == ["accepted", trouble.value]
    for found in (
        await store.list(OrderFilter(status=OrderStatus.ACCEPTED), 10, None),
        await store.list(OrderFilter(trouble=trouble), 10, None),
        await store.list(OrderFilter(), 10, None),
    ):
        assert [record.trouble for record in found.orders] == [trouble]


@pytest.mark.parametrize("is_migrated", [False, True])
@pytest.mark.parametrize("trouble", Trouble)
async def test_a_kept_order_is_decided_like_any_other(
    redis: Any, trouble: Trouble, *, is_migrated: bool
) -> None:
    """Before the migration and after it."""
    order = an_order("a", cable=1)
    await stocked(redis, cable=5)
    await kept(redis, order, trouble.value)
    if is_migrated:
        await sweep(redis).migrate_once()
    assert isinstance(await decide_one(store_recreating(redis, A_CENTURY), placed(order)), Created)
    record = await record_of(redis, "a")
    assert (record.status, record.trouble, record.next_attempt_at) == (OrderStatus.CREATED, None, None)
    assert await indexes_of(redis, "a") == ["created"]


@pytest.mark.parametrize("trouble", Trouble)
async def test_a_kept_order_that_fails_again_is_migrated_by_that(redis: Any, trouble: Trouble) -> None:
    """A note writes the trouble where it belongs; what is dead stays dead."""
    order = an_order("a", cable=1)
    await kept(redis, order, trouble.value)
    store = store_recreating(redis, A_CENTURY)
    await store.waits(placed(order), waiting(3))
    if trouble is Trouble.RETRYING:
        assert await redis.hget("order:a", "status") == "accepted"
    await store.buried(placed(order), buried())
    assert (await record_of(redis, "a")).trouble is Trouble.DEAD
    assert await redis.hget("order:a", "status") == "accepted"
    assert await indexes_of(redis, "a") == ["accepted", "dead"]


async def test_an_older_processor_may_run_meanwhile(redis: Any) -> None:
    """It decides a migrated order: its script takes it out of all three indexes and knows no trouble."""
    await kept(redis, an_order("a", cable=1), "dead")
    await sweep(redis).migrate_once()
    await redis.hset("order:a", mapping={"status": "created", "decided_at": AT + 9, "sequence": 1})
    await redis.zrem("orders:accepted", "a")
    await redis.zrem("orders:dead", "a")
    await redis.zadd("orders:created", {"a": AT})
    assert (await record_of(redis, "a")).trouble is None
    assert await sweep(redis).migrate_once() == 0


async def test_a_decided_order_that_was_left_in_the_wrong_index_is_put_right(redis: Any) -> None:
    """The older script was cut after it had written the outcome: whoever asks again finishes that."""
    order = an_order("a", cable=1)
    await stocked(redis, cable=5)
    store = store_recreating(redis, A_CENTURY)
    decision = await decide_one(store, placed(order))
    right = await everything(redis)
    await redis.zrem("orders:created", "a")
    await redis.zadd("orders:accepted", {"a": AT})
    assert await decide_one(store, placed(order)) == decision
    assert await everything(redis) == right
    await redis.zadd("orders:dead", {"a": AT})
    await sweep(redis).migrate_once()
    assert await everything(redis) == right
