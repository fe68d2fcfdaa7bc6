"""Reading the pipeline's figures, over the in-process store and a real Redis."""

import pytest
from redis.exceptions import ResponseError

from dashboard.overview.state import Question
from dashboard.overview.store import RedisStoreReader
from shared import keyspace
from shared.errors import StoreUnavailable
from shared.keyspace import NotificationStatus
from shared.orders.model import OrderStatus, Trouble
from shared.redis.client import Redis, open_redis
from shared.redis.stock import StockReader
from tests.harness.stores import as_service


@pytest.fixture
def reader(redis: Redis) -> RedisStoreReader:
    """A reader of a store in which nothing is."""
    return reader_of(redis)


def reader_of(redis: Redis, timeout_seconds: float = 5.0) -> RedisStoreReader:
    """A reader of that store."""
    stock = StockReader(as_service(redis, "dashboard"), timeout_seconds=timeout_seconds)
    return RedisStoreReader(as_service(redis, "dashboard"), stock, timeout_seconds=timeout_seconds)


async def test_an_empty_store_has_zeros(reader: RedisStoreReader) -> None:
    """Nothing has happened yet; that is a figure too."""
    state = await reader.read()
    assert (state.processed, state.outbox, state.outbox_oldest_seconds) == (0, 0, None)
    assert set(state.orders.values()) == {0}
    assert set(state.notifications.values()) == {0}
    assert state.inventory == {}


async def test_every_figure_is_read_where_the_services_keep_it(
    reader: RedisStoreReader, redis: Redis
) -> None:
    """Orders by their indexes, the rest by its key."""
    await redis.zadd(keyspace.orders_in(OrderStatus.CREATED), {"o1": 1, "o2": 2})
    await redis.zadd(keyspace.orders_in(Trouble.RETRYING), {"o3": 3})
    await redis.set(keyspace.PROCESSED_COUNT, "2")
    await redis.hset(keyspace.NOTIFICATION_COUNTS, mapping={"sent": "2", "failed": "1", "declined": "4"})
    await redis.mset({keyspace.inventory("cable"): "-3", keyspace.inventory("case"): "98"})
    state = await reader.read()
    assert state.processed == 2
    assert (state.orders[OrderStatus.CREATED], state.trouble[Trouble.RETRYING]) == (2, 1)
    assert state.notifications == {
        NotificationStatus.SENDING: 0,
        NotificationStatus.SENT: 2,
        NotificationStatus.FAILED: 1,
        NotificationStatus.DECLINED: 4,
    }
    assert (state.inventory, state.skus) == ({"cable": -3, "case": 98}, 2)


async def test_the_outbox_has_a_size_and_an_age(reader: RedisStoreReader, redis: Redis) -> None:
    """The age is that of its oldest order, by the clock of the store."""
    seconds, microseconds = await redis.time()
    now = seconds * 1_000_000 + microseconds
    await redis.zadd(keyspace.OUTBOX, {"young": now, "old": now - 90_000_000})
    state = await reader.read()
    assert state.outbox == 2
    assert state.outbox_oldest_seconds is not None
    assert 90 <= state.outbox_oldest_seconds < 100


async def test_what_waits_for_a_decision_has_an_age(reader: RedisStoreReader, redis: Redis) -> None:
    """Per status, that of its oldest order; final ones do not wait, and where nothing waits there is none."""
    seconds, microseconds = await redis.time()
    now = seconds * 1_000_000 + microseconds
    await redis.zadd(keyspace.orders_in(OrderStatus.ACCEPTED), {"young": now, "old": now - 40_000_000})
    await redis.zadd(keyspace.orders_in(Trouble.DEAD), {"given up": now - 7_200_000_000})
    await redis.zadd(keyspace.orders_in(OrderStatus.CREATED), {"done": 1})
    ages = (await reader.read()).oldest_seconds
    assert set(ages) == {OrderStatus.ACCEPTED, Trouble.DEAD}
    assert 40 <= ages[OrderStatus.ACCEPTED] < 50
    assert 7_200 <= ages[Trouble.DEAD] < 7_210


async def test_customers_who_are_to_be_told_are_counted_with_the_age_of_the_oldest(
    reader: RedisStoreReader, redis: Redis
) -> None:
    """From the decision on, until the notifier has told them."""
    seconds, microseconds = await redis.time()
    now = seconds * 1_000_000 + microseconds
    await redis.zadd(keyspace.UNTOLD, {"young": now, "old": now - 90_000_000})
    state = await reader.read()
    assert state.untold == 2
    assert state.untold_oldest_seconds is not None
    assert 90 <= state.untold_oldest_seconds < 100


async def test_the_server_tells_about_itself(reader: RedisStoreReader, redis: Redis) -> None:
    """Memory, clients and its disk; one that does not know the question costs these figures alone."""
    try:
        await redis.info()
    except ResponseError:
        assert (await reader.read()).server is None
        return
    first, second = (await reader.read()).server, (await reader.read()).server
    assert first is not None
    assert second is not None
    assert first.is_writing
    assert first.memory_bytes > 0
    assert first.clients > 0
    assert first.commands < second.commands


async def test_one_sku_and_one_order_can_be_asked_for(reader: RedisStoreReader, redis: Redis) -> None:
    """What is there, and None for what is not."""
    await redis.set(keyspace.inventory("cable"), "98")
    await redis.hset(keyspace.notifications("o1"), "status", "sent")
    known = await reader.answer(Question(sku="cable", order_id="o1"))
    assert (known.inventory_level, known.notification_status) == (98, "sent")
    unknown = await reader.answer(Question(sku="nope", order_id="nope"))
    assert (unknown.inventory_level, unknown.notification_status) == (None, None)


async def test_keys_that_hold_something_else_cost_their_figure_alone(
    reader: RedisStoreReader, redis: Redis
) -> None:
    """They are shown as not known; everything else is read."""
    await redis.set(keyspace.PROCESSED_COUNT, "many")
    await redis.set(keyspace.NOTIFICATION_COUNTS, "a string")
    await redis.mset({keyspace.OUTBOX: "a string", keyspace.UNTOLD: "a string"})
    await redis.set(keyspace.orders_in(Trouble.DEAD), "a string")
    await redis.set(keyspace.inventory("cable"), "plenty")
    await redis.set(keyspace.notifications("o1"), "a string")
    state = await reader.read()
    assert (state.processed, state.outbox, state.outbox_oldest_seconds) == (None, None, None)
    assert (state.untold, state.untold_oldest_seconds) == (None, None)
    assert state.trouble[Trouble.DEAD] is None
    assert Trouble.DEAD not in state.oldest_seconds
    assert state.orders[OrderStatus.CREATED] == 0
    assert set(state.notifications.values()) == {None}
    assert state.inventory == {"cable": None}
    assert (await reader.answer(Question(sku="cable", order_id="o1"))).notification_status is None


async def test_reading_writes_nothing(reader: RedisStoreReader, redis: Redis) -> None:
    """Not even for what was asked for and is not there."""
    await reader.read()
    await reader.answer(Question(sku="nope", order_id="nope"))
    assert await redis.dbsize() == 0


async def test_an_absent_store_is_told_as_such(unused_tcp_port: int) -> None:
    """StoreUnavailable, in time."""
    url = f"redis://127.0.0.1:{unused_tcp_port}/0"
    async with open_redis(url, timeout_seconds=0.5, max_connections=2) as redis:
        with pytest.raises(StoreUnavailable):
            await reader_of(redis, 0.5).read()


async def test_no_more_than_a_thousand_skus_are_read(reader: RedisStoreReader, redis: Redis) -> None:
    """Each is a line and a series; how many there are is said."""
    await redis.mset({keyspace.inventory(f"sku{number:04}"): number for number in range(1_200)})
    state = await reader.read()
    assert list(state.inventory) == [f"sku{number:04}" for number in range(1_000)]
    assert state.skus == 1_200
