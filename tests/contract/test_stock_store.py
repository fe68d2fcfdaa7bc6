"""The stock store on an in-process store and on a real Redis: changes are checked, and the books agree."""

import asyncio

import pytest

import shared.redis.stock
from api_gateway.ports import (
    BrokenStock,
    StockHeld,
    StockWouldBeNegative,
    StockWouldOverflow,
    TooManySkus,
    UnknownSku,
)
from api_gateway.stock import MOST_AVAILABLE, RedisStockStore
from shared import keyspace
from shared.errors import StoreUnavailable
from shared.redis.client import Redis, open_redis
from shared.redis.stock import StockReader
from tests.harness.stores import RedisServer, as_service

SKU = "mag-safe-phone-case"
INVENTORY = keyspace.inventory(SKU)


@pytest.fixture
def stock(redis: Redis) -> RedisStockStore:
    """The adapter under test."""
    return RedisStockStore(as_service(redis, "api_gateway"), timeout_seconds=5.0, most_skus=5_000)


async def supplied(redis: Redis, sku: str = SKU) -> int:
    """What the books say was supplied."""
    return int(await redis.hget(keyspace.SUPPLIED, sku) or 0)


async def listed(stock: RedisStockStore, limit: int = 200) -> dict[str, int | None]:
    """All pages together; no SKU may stand on two of them."""
    found: dict[str, int | None] = {}
    after: str | None = ""
    while after is not None:
        page = await stock.list(after, limit)
        assert not set(page.stock) & set(found)
        found |= page.stock
        after = page.next_after
    return found


async def everything(redis: Redis) -> list[object]:
    """Every key with a dump of its value."""
    return [(key, await redis.dump(key)) for key in sorted(map(str, await redis.keys()))]


async def test_what_was_set_is_read_back(stock: RedisStockStore) -> None:
    """Setting makes a SKU known."""
    assert await stock.get(SKU) is None
    assert await stock.set(SKU, 100) == 100
    assert await stock.get(SKU) == 100


async def test_the_value_is_what_an_operator_may_change_by_hand(stock: RedisStockStore, redis: Redis) -> None:
    """It is an integer string, so that SET and INCRBY work on it, and both are seen."""
    await stock.set(SKU, MOST_AVAILABLE)
    assert await redis.get(INVENTORY) == "1000000000000"
    await redis.set(INVENTORY, 5)
    await redis.incrby(INVENTORY, 2)
    assert await stock.get(SKU) == 7


async def test_changes_add_up(stock: RedisStockStore) -> None:
    """A change gives the new stock."""
    await stock.set(SKU, 10)
    assert await stock.adjust(SKU, -3) == 7
    assert await stock.adjust(SKU, 5) == 12


async def test_no_change_goes_below_zero(stock: RedisStockStore, redis: Redis) -> None:
    """The last piece can be taken, and nothing after it; a refusal writes nothing."""
    await stock.set(SKU, 3)
    before = await everything(redis)
    with pytest.raises(StockWouldBeNegative):
        await stock.adjust(SKU, -4)
    assert await everything(redis) == before
    assert await stock.adjust(SKU, -3) == 0


async def test_no_change_goes_past_what_is_kept_exactly(stock: RedisStockStore, redis: Redis) -> None:
    """Stock stays within the digits that every script reads."""
    await stock.set(SKU, MOST_AVAILABLE)
    before = await everything(redis)
    with pytest.raises(StockWouldOverflow):
        await stock.adjust(SKU, 1)
    assert await everything(redis) == before


async def test_an_unknown_sku_is_not_changed_into_being(stock: RedisStockStore, redis: Redis) -> None:
    """Only setting creates."""
    with pytest.raises(UnknownSku):
        await stock.adjust(SKU, 1)
    assert await redis.keys() == []


@pytest.mark.parametrize("value", ["1e3", "ten", "", " 5", "1.5", "+5", "9" * 16, "-", "007", "-0"])
async def test_what_is_no_integer_is_neither_shown_nor_changed(
    stock: RedisStockStore, redis: Redis, value: str
) -> None:
    """Lua's tonumber takes more than an integer; a change on it would fail half way."""
    await redis.set(INVENTORY, value)
    before = await everything(redis)
    with pytest.raises(BrokenStock):
        await stock.adjust(SKU, 1)
    assert await everything(redis) == before
    assert await stock.get(SKU) is None
    assert await listed(stock) == {SKU: None}


async def test_a_value_of_another_type_is_replaced_by_setting(stock: RedisStockStore, redis: Redis) -> None:
    """Setting anew is the way out of whatever lies there."""
    await redis.rpush(INVENTORY, "a", "b")
    assert await stock.get(SKU) is None
    assert await listed(stock) == {SKU: None}
    with pytest.raises(BrokenStock):
        await stock.adjust(SKU, 1)
    assert await stock.set(SKU, 4) == 4
    assert await stock.get(SKU) == 4


@pytest.mark.parametrize(
    "key",
    [
        *(keyspace.SKUS, keyspace.SUPPLIED, keyspace.SKU_INDEX),
        *(keyspace.RESERVED, keyspace.ARCHIVE, keyspace.STOCK_CHANGED),
    ],
)
async def test_broken_books_stop_a_change_before_its_first_write(
    stock: RedisStockStore, redis: Redis, key: str
) -> None:
    """Redis does not roll a script back, so every check comes first."""
    await redis.set(INVENTORY, 5)
    await redis.set(key, "of another type")
    before = await everything(redis)
    with pytest.raises(BrokenStock):
        await stock.set(SKU, 9)
    with pytest.raises(BrokenStock):
        await stock.adjust(SKU, 1)
    with pytest.raises(BrokenStock):
        await stock.remove(SKU)
    assert await everything(redis) == before


async def test_a_supply_that_is_no_number_stops_a_change(stock: RedisStockStore, redis: Redis) -> None:
    """The third kind of book-keeping that a hand can break."""
    await redis.hset(keyspace.SUPPLIED, SKU, "many")
    with pytest.raises(BrokenStock):
        await stock.set(SKU, 9)
    assert await redis.exists(INVENTORY) == 0


async def test_available_and_reserved_are_what_was_supplied(stock: RedisStockStore, redis: Redis) -> None:
    """Whatever is set and changed around reservations, the difference between the books is zero."""
    await stock.set(SKU, 100)
    await redis.decrby(INVENTORY, 30)
    await redis.hincrby(keyspace.RESERVED, SKU, 30)
    await stock.adjust(SKU, -20)
    await stock.set(SKU, 5)
    await stock.set(SKU, 500)
    available, reserved = await stock.get(SKU), int(await redis.hget(keyspace.RESERVED, SKU) or 0)
    assert available is not None
    assert available + reserved == await supplied(redis) == 530


async def test_a_change_by_hand_shows_as_a_difference(stock: RedisStockStore, redis: Redis) -> None:
    """Setting through the API later does not hide it."""
    await stock.set(SKU, 10)
    await redis.set(INVENTORY, 4)
    await stock.set(SKU, 50)
    assert await supplied(redis) == 50 + 6


async def test_the_list_has_what_an_operator_put_there(stock: RedisStockStore, redis: Redis) -> None:
    """A small store is walked through, sorted by SKU, and nothing else is taken for stock."""
    await stock.set("b", 2)
    await redis.set(keyspace.inventory("a"), 1)
    await redis.set(keyspace.inventory("no SKU"), 1)
    await redis.set("inventory", 9)
    await redis.set(keyspace.claim("order123"), "token")
    assert list((await listed(stock)).items()) == [("a", 1), ("b", 2)]
    assert await stock.count() == 2


@pytest.mark.parametrize("limit", [1, 3, 7, 200])
async def test_every_sku_is_listed_once_and_in_order(
    stock: RedisStockStore, redis: Redis, limit: int
) -> None:
    """Those that came through the API, those set by hand, and one that is both; gone ones are left out."""
    for number in range(0, 20, 2):
        await stock.set(f"sku{number:02}", number)
    await redis.mset({keyspace.inventory(f"sku{number:02}"): number for number in (*range(1, 20, 2), 4)})
    await redis.delete(keyspace.inventory("sku06"), keyspace.inventory("sku07"))
    expected = [number for number in range(20) if number not in (6, 7)]
    assert list((await listed(stock, limit)).items()) == [(f"sku{number:02}", number) for number in expected]


async def test_a_large_store_is_walked_through_part_by_part(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No look reads more than its share of the keys; what was set by hand is found in the end."""
    monkeypatch.setattr(shared.redis.stock, "KEYS_PER_STEP", 20)
    monkeypatch.setattr(shared.redis.stock, "PAUSE_PER_WALK", 0)
    stock = RedisStockStore(as_service(redis, "api_gateway"), timeout_seconds=5.0, most_skus=9)
    reader = StockReader(as_service(redis, "api_gateway"), timeout_seconds=5.0, steps_per_walk=1)
    await redis.mset({f"order:{number}": "x" for number in range(300)})
    await stock.set("b", 2)
    await redis.set(keyspace.inventory("a"), 1)
    looks = 0
    while "a" not in (page := await reader.list("", 9)).stock:
        assert page.stock == {"b": 2}
        looks += 1
    assert looks < 100
    await redis.delete(keyspace.inventory("a"))
    assert (await reader.list("", 9)).stock == {"b": 2}


async def test_looking_takes_a_tenth_of_the_time_at_most(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixty-four lists at once walk through the keys once; all of them have what came through the API."""
    monkeypatch.setattr(shared.redis.stock, "PAUSE_PER_WALK", 1_000_000)
    stock = RedisStockStore(as_service(redis, "api_gateway"), timeout_seconds=5.0, most_skus=9)
    await redis.set(keyspace.inventory("a"), 1)
    await stock.list("", 9)
    await stock.set("b", 2)
    await redis.set(keyspace.inventory("c"), 3)
    pages = await asyncio.gather(*(stock.list("", 9) for _ in range(64)))
    assert all(page.stock == {"a": 1, "b": 2} for page in pages)


async def test_there_are_as_many_skus_as_there_may_be(redis: Redis) -> None:
    """One more is refused before anything is written; those that are there can be set all the same."""
    stock = RedisStockStore(as_service(redis, "api_gateway"), timeout_seconds=5.0, most_skus=2)
    await stock.set("a", 1)
    await stock.set("b", 1)
    before = await everything(redis)
    with pytest.raises(TooManySkus):
        await stock.set("c", 1)
    assert await everything(redis) == before
    assert await stock.set("b", 9) == 9
    await stock.remove("a")
    assert await stock.set("c", 1) == 1


async def test_a_sku_that_nothing_holds_is_removed_with_all_that_names_it(
    stock: RedisStockStore, redis: Redis
) -> None:
    """Its books are gone with it; a second time it is unknown."""
    await stock.set(SKU, 7)
    await stock.remove(SKU)
    assert await redis.keys() == [keyspace.STOCK_CHANGED]
    assert await listed(stock) == {}
    with pytest.raises(UnknownSku):
        await stock.remove(SKU)


async def test_a_sku_that_orders_hold_stays(stock: RedisStockStore, redis: Redis) -> None:
    """Until the last order that reserved pieces of it was swept; the books of the swept ones stay."""
    await stock.set(SKU, 100)
    await redis.decrby(INVENTORY, 30)
    await redis.hincrby(keyspace.RESERVED, SKU, 30)
    await redis.hincrby(keyspace.ARCHIVE, f"sku:{SKU}", 29)
    before = await everything(redis)
    with pytest.raises(StockHeld) as caught:
        await stock.remove(SKU)
    assert (caught.value.pieces, await everything(redis)) == (1, before)
    await redis.hincrby(keyspace.ARCHIVE, f"sku:{SKU}", 1)
    await stock.remove(SKU)
    assert (await stock.get(SKU), await supplied(redis)) == (None, 30)


async def test_what_is_no_integer_can_be_removed(stock: RedisStockStore, redis: Redis) -> None:
    """Whatever an operator left there by hand."""
    await redis.set(INVENTORY, "many")
    await stock.remove(SKU)
    await redis.rpush(INVENTORY, "a")
    await stock.remove(SKU)
    assert await redis.keys() == [keyspace.STOCK_CHANGED]


async def test_changes_at_the_same_time_lose_nothing(stock: RedisStockStore) -> None:
    """Each change is one script."""
    await stock.set(SKU, 0)
    await asyncio.gather(*(stock.adjust(SKU, 1) for _ in range(50)))
    assert await stock.get(SKU) == 50


@pytest.mark.broker
async def test_a_store_that_does_not_answer_is_said_to_be_away(redis_server: RedisServer) -> None:
    """Every method gives up in time."""
    async with open_redis(redis_server.url, timeout_seconds=0.2, max_connections=4) as redis:
        stock = RedisStockStore(redis, timeout_seconds=0.2, most_skus=9)
        with redis_server.frozen():
            for call in (
                stock.get(SKU),
                stock.list("", 9),
                stock.remove(SKU),
                stock.set(SKU, 1),
                stock.adjust(SKU, 1),
            ):
                with pytest.raises(StoreUnavailable):
                    await call
