"""Prices and the cache in Redis: what is newer stays, and what was before does not come back."""

from dataclasses import replace
from typing import Any

import pytest

from catalogue.cache import RedisCache
from catalogue.model import Product
from catalogue.ports import Entry
from catalogue.prices import RedisPriceBoard
from shared import keyspace
from tests.harness.stores import as_service

PRODUCT = Product(
    sku="case",
    name="Phone case",
    description="",
    category="",
    unit_amount=1999,
    currency="EUR",
    version=7,
    created_at=1,
    updated_at=1,
)
KEY = keyspace.product("case")
SHOWN = {"version": "7", "unit_amount": "1999", "currency": "EUR", "name": "Phone case"}
ENTRY, LIST = Entry(key="product:case", sku="case"), Entry(key="list:1", sku=None)


@pytest.fixture
def board(redis: Any) -> RedisPriceBoard:
    """Prices in either store."""
    return RedisPriceBoard(as_service(redis, "catalogue"), timeout_seconds=5.0)


@pytest.fixture
def cache(redis: Any) -> RedisCache:
    """A cache in either store."""
    return RedisCache(redis, timeout_seconds=5.0, product_seconds=300.0, list_seconds=60.0)


async def test_a_newer_price_stays(redis: Any, board: RedisPriceBoard) -> None:
    """However late an older one comes; the caller learns of it."""
    assert await board.show([PRODUCT, replace(PRODUCT, sku="other")]) == {}
    assert await board.show([replace(PRODUCT, version=6, unit_amount=1), replace(PRODUCT, sku="third")]) == {
        "case": 7
    }
    assert await redis.hgetall(KEY) == SHOWN
    assert await redis.exists(keyspace.product("third")) == 1


async def test_a_tombstone_has_no_price(redis: Any, board: RedisPriceBoard) -> None:
    """It keeps what was before it away."""
    await board.show([PRODUCT])
    await board.show([replace(PRODUCT, version=8, deleted=True)])
    assert await board.show([PRODUCT]) == {"case": 8}
    assert await redis.hgetall(KEY) == {"version": "8", "deleted": "1"}


@pytest.mark.parametrize(
    "command",
    [
        ("SET", KEY, "x"),
        ("RPUSH", KEY, "x"),
        ("HSET", KEY, "version", "many", "unit_amount", "1"),
        ("HSET", KEY, "version", "7", "unit_amount", "1"),
        ("HSET", KEY, "version", "7", "deleted", "1"),
        ("HSET", KEY, "unit_amount", "5", "currency", "USD"),
    ],
    ids=" ".join,
)
async def test_what_was_put_there_by_hand_is_overwritten(
    redis: Any, board: RedisPriceBoard, command: tuple[str, ...]
) -> None:
    """Whatever it is."""
    await redis.execute_command(*command)
    await board.show([PRODUCT])
    assert await redis.hgetall(KEY) == SHOWN


async def test_one_reads_and_the_others_find_it(cache: RedisCache) -> None:
    """The first is told to read; who asks meanwhile waits; what is filled holds."""
    reader = await cache.look(ENTRY, may_read=True)
    assert (reader.token is not None, (await cache.look(ENTRY, may_read=True)).token) == (True, None)
    await cache.fill(ENTRY, reader, "body")
    found = await cache.look(ENTRY, may_read=True)
    assert (found.body, found.holds) == ("body", True)


async def test_a_reader_without_an_answer_makes_way(cache: RedisCache) -> None:
    """The next one reads."""
    reader = await cache.look(ENTRY, may_read=True)
    await cache.fill(ENTRY, reader, "")
    assert (await cache.look(ENTRY, may_read=True)).token is not None


@pytest.mark.parametrize("entry", [ENTRY, LIST], ids=["product", "list"])
async def test_a_slow_reader_cannot_put_back_what_was(cache: RedisCache, entry: Entry) -> None:
    """What it read before the write is dropped; the answer of before is there for when there is no other."""
    first = await cache.look(entry, may_read=True)
    await cache.fill(entry, first, "old")
    await cache.invalidate({"case"})
    slow = await cache.look(entry, may_read=True)
    assert (slow.body, slow.holds) == ("old", False)
    await cache.invalidate({"case"})
    await cache.fill(entry, slow, "old again")
    after = await cache.look(entry, may_read=True)
    assert (after.body, after.holds, after.token is not None) == ("old", False, True)


async def test_a_generation_that_was_evicted_revives_nothing(redis: Any, cache: RedisCache) -> None:
    """The cache forgets what it likes, in any order."""
    for entry in (ENTRY, LIST):
        await cache.fill(entry, await cache.look(entry, may_read=True), "old")
    await cache.invalidate({"case"})
    for key in await redis.keys("generation:*"):
        await redis.delete(key)
    for entry in (ENTRY, LIST):
        assert not (await cache.look(entry, may_read=False)).holds
        assert not (await cache.look(entry, may_read=True)).holds


async def test_another_product_is_not_forgotten(cache: RedisCache) -> None:
    """A write costs its own product, and the lists."""
    other = Entry(key="product:other", sku="other")
    await cache.fill(other, await cache.look(other, may_read=True), "body")
    await cache.invalidate({"case"})
    assert (await cache.look(other, may_read=True)).holds
