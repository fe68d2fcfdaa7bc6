"""Products in SQL: the same on SQLite and on PostgreSQL."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from catalogue.model import Product, ProductChanged, ProductExists, UnknownProduct
from catalogue.schema import PRODUCTS, VERSIONS
from catalogue.search import words_asked
from catalogue.store import CACHED, PRICE, Filter, ProductStore
from shared.sql.database import Database, open_database
from shared.sql.migrations import migrations_of
from shared.sql.outbox import EVENTS
from tests.harness.catalogue import CASE
from tests.harness.examples import TRACE

EVERYTHING = Filter()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """One with an empty catalogue."""
    async with open_database(database_url, migrations_of("catalogue"), timeout_seconds=30.0) as opened:
        await opened.look()
        assert opened.unready_reason() is None
        yield opened


@pytest.fixture
def store(database: Database) -> ProductStore:
    """The store on it."""
    return ProductStore(database)


async def found(store: ProductStore, query: str) -> Sequence[str]:
    """The SKUs that a query finds."""
    return [each.sku for each in await store.page(Filter(words=words_asked(query)), "", 50)]


async def test_a_product_is_kept_as_it_was_written(store: ProductStore) -> None:
    """Every letter and every unit of it."""
    fields = CASE | {"name": "Größe „XL“ 🐈 ' \" \\ %s :x", "description": "a\tb\nc", "unit_amount": 10**9}
    made = await store.create(fields, TRACE)
    assert await store.get("phone-case") == made
    assert {name: getattr(made, name) for name in fields} == fields
    assert made.created_at == made.updated_at > 1_700_000_000_000_000


async def test_versions_come_from_one_sequence_that_goes_on_after_a_delete(store: ProductStore) -> None:
    """What comes later is newer, whichever product it is."""
    await store.create(CASE, TRACE)
    await store.create(CASE | {"sku": "other"}, TRACE)
    await store.change("phone-case", {"unit_amount": 5}, {1}, TRACE)
    deleted = await store.delete("phone-case", {3}, TRACE)
    again = await store.create(CASE, TRACE)
    assert (deleted.version, again.version, (await store.get("other") or again).version) == (4, 5, 2)
    assert [each.deleted for each in await store.states("", 10)] == [False, False]


async def test_what_is_refused_changes_nothing(store: ProductStore) -> None:
    """Nor does it promise anything."""
    made = await store.create(CASE, TRACE)
    with pytest.raises(ProductExists):
        await store.create(CASE, TRACE)
    with pytest.raises(ProductChanged) as changed:
        await store.change("phone-case", {"name": "x"}, {7, 8}, TRACE)
    with pytest.raises(ProductChanged):
        await store.delete("phone-case", (), TRACE)
    with pytest.raises(UnknownProduct):
        await store.change("unknown", {"name": "x"}, None, TRACE)
    assert changed.value.version == 1
    assert (await store.get("phone-case"), await store.outbox.size()) == (made, 3)


async def test_of_writers_at_one_time_each_is_counted(store: ProductStore) -> None:
    """And of those that create one product, one does."""

    async def create() -> Product | ProductExists:
        try:
            return await store.create(CASE, TRACE)
        except ProductExists as error:
            return error

    made = [each for each in await asyncio.gather(*(create() for _ in range(5))) if isinstance(each, Product)]
    assert len(made) == 1
    changes = [store.change("phone-case", {"unit_amount": amount}, None, TRACE) for amount in range(8)]
    versions = [each.version for each in await asyncio.gather(*changes)]
    assert len(set(versions)) == 8
    last = await store.get("phone-case")
    assert last is not None
    assert (last.version, last.unit_amount) == (max(versions), versions.index(max(versions)))
    # in the outbox the rows of a product stand in the order of its versions
    rows = await store.outbox.oldest(EVENTS, 100)
    told = [int(row.body.partition(".v1:")[2].partition('"')[0]) for row in rows]
    assert told == sorted(told)


async def test_a_write_promises_a_price_an_invalidation_and_an_event(store: ProductStore) -> None:
    """Each is removed by itself."""
    await store.create(CASE, TRACE)
    await store.create(CASE | {"sku": "other"}, TRACE)
    for kind in (PRICE, CACHED, EVENTS):
        rows = await store.outbox.oldest(kind, 10)
        assert [row.subject for row in rows] == ["phone-case", "other"]
        await store.outbox.remove(rows[:1])
        assert [row.subject for row in await store.outbox.oldest(kind, 10)] == ["other"]
    assert await store.outbox.size() == 3


async def test_the_last_version_comes_with_what_the_cache_has_yet_to_forget(store: ProductStore) -> None:
    """Also of a write that changed nothing that is read."""
    assert await store.written(10, timeout_seconds=30.0) == (0, set())
    await store.create(CASE, TRACE)
    other = await store.create(CASE | {"sku": "other"}, TRACE)
    assert await store.written(10, timeout_seconds=30.0) == (other.version, {"phone-case", "other"})
    assert len((await store.written(1, timeout_seconds=30.0))[1]) == 1
    rows = await store.outbox.oldest(CACHED, 10)
    await store.outbox.remove([rows[0]])
    assert await store.written(10, timeout_seconds=30.0) == (other.version, {"other"})


async def test_pages_follow_each_other_without_gaps(store: ProductStore) -> None:
    """In the order of the bytes of their SKUs, on either database."""
    skus = ["B", "Z.9", "a", "a-1", "a.1", "a1", "a_1", "b", "bb", "é".encode("idna").decode()]
    for sku in random.Random(1).sample(skus, len(skus)):
        await store.create(CASE | {"sku": sku}, TRACE)
    seen: list[str] = []
    while page := await store.page(EVERYTHING, seen[-1] if seen else "", 3):
        seen += [each.sku for each in page]
    assert seen == sorted(skus)


async def test_words_are_found_by_their_beginnings(store: ProductStore) -> None:
    """In every text of a product, as long as it is there and says so."""
    await store.create(CASE, TRACE)
    fields: dict[str, Any] = {"sku": "k-7", "name": "Kettle, 1,7 l (№ 12e5)", "category": "Küche"}
    await store.create(CASE | fields, TRACE)
    for query, skus in (
        ("phone", ["phone-case"]),
        ("magnet", ["k-7", "phone-case"]),
        ("magn KÜCHE", ["k-7"]),
        ("12e5", ["k-7"]),
        ("7", ["k-7"]),
        ("hone", []),
        ("the the the", []),
    ):
        assert await found(store, query) == skus, query
    await store.change("k-7", {"name": "Pot"}, None, TRACE)
    assert (await found(store, "kettle"), await found(store, "pot")) == ([], ["k-7"])
    await store.delete("k-7", None, TRACE)
    assert await found(store, "pot") == []


@pytest.mark.parametrize(
    "query",
    [
        "'",
        '"',
        "a:*",
        "!",
        "a & | b",
        "(",
        "\\",
        "a' OR 'b",
        "NEAR(a b)",
        "*",
        "-a",
        "\u0000",
        "🐈",
        "x" * 200,
    ],
)
async def test_a_hostile_query_is_text(store: ProductStore, query: str) -> None:
    """No sign of a query language means anything."""
    await store.create(CASE | {"name": "a b xx"}, TRACE)
    wanted = ["phone-case"] if words_asked(query) and set(words_asked(query)) <= {"a", "b"} else []
    assert await found(store, query) == wanted


async def test_a_database_that_was_set_back_overtakes_what_it_wrote(store: ProductStore) -> None:
    """Its next versions are past those that were seen elsewhere, and tell of it."""
    await store.create(CASE, TRACE)
    assert await store.overtake({"phone-case": 41, "never-there": 7}, TRACE) == ["phone-case"]
    product = await store.get("phone-case")
    assert product is not None
    assert product.version == 42
    assert (await store.create(CASE | {"sku": "next"}, TRACE)).version == 43


async def test_nothing_is_overtaken_that_the_database_has_as_new(store: ProductStore) -> None:
    """Whoever compares may have read a product just before a write: that is no restore from a backup."""
    await store.create(CASE, TRACE)
    changed = await store.change("phone-case", {"unit_amount": 5}, None, TRACE)
    size = await store.outbox.size()
    assert await store.overtake({"phone-case": changed.version}, TRACE) == []
    assert (await store.get("phone-case"), await store.outbox.size()) == (changed, size)


async def test_a_write_that_is_under_way_is_not_overtaken_with_what_was_before_it(
    database: Database, store: ProductStore
) -> None:
    """It has its turn first, and its price is kept."""
    await store.create(CASE, TRACE)
    await store.create(CASE | {"sku": "other"}, TRACE)
    is_writing, may_end = asyncio.Event(), asyncio.Event()

    async def change(connection: AsyncConnection) -> None:
        await connection.execute(update(VERSIONS).values(value=3))
        is_writing.set()
        await may_end.wait()
        phone_case = update(PRODUCTS).where(PRODUCTS.c.sku == "phone-case")
        await connection.execute(phone_case.values(unit_amount=5, version=3))

    changing = asyncio.create_task(database.transaction(change))
    await is_writing.wait()
    overtaking = asyncio.create_task(store.overtake({"phone-case": 2}, TRACE))
    await asyncio.wait({overtaking}, timeout=0.2)  # as far as it gets
    may_end.set()
    await asyncio.gather(changing, overtaking)
    product = await store.get("phone-case")
    assert product is not None
    assert (product.unit_amount, product.version) == (5, 3)
