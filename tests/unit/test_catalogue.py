"""Products over HTTP: written, read through the cache, found, and seen by orders."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fakeredis import FakeServer

from api_gateway.stock import RedisStockStore
from catalogue.cache import RedisCache
from catalogue.store import ProductStore
from orderctl.embedded.infrastructure import VolatileRedis
from shared import keyspace
from shared.errors import DatabaseUnavailable, StoreUnavailable
from shared.service.carrying import Carrier
from tests.harness.catalogue import CASE, Backstage, Catalogue, catalogue, without_hurry
from tests.harness.http_gateway import problem_of
from tests.harness.waiting import wait_until


@pytest.fixture
def backstage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Backstage:
    """Stores of this test."""
    without_hurry(monkeypatch)
    return Backstage(f"sqlite:///{tmp_path}/catalogue.db")


@pytest.fixture
async def served(backstage: Backstage) -> AsyncIterator[Catalogue]:
    """One replica."""
    async with catalogue(backstage) as replica:
        yield replica


async def test_a_product_is_added_read_and_priced(served: Catalogue) -> None:
    """First from the database, then from the cache, with the stock of the moment; orders see its price."""
    made = await served.create()
    assert (made.headers["Location"], made.headers["ETag"]) == ("/products/phone-case", '"1"')
    primary = served.backstage.primary()
    assert await primary.hgetall(keyspace.product("phone-case")) == {
        "version": "1",
        "unit_amount": "1999",
        "currency": "EUR",
        "name": "Phone case",
    }
    state, product = await served.seen("/products/phone-case")
    assert (state, product["stock"], {name: product[name] for name in CASE}) == ("miss", None, CASE)
    await primary.set(keyspace.inventory("phone-case"), 45)
    state, product = await served.seen("/products/phone-case")
    assert (state, product["stock"]) == ("hit", 45)


async def test_a_change_is_seen_at_once(served: Catalogue) -> None:
    """By readers of the product and of lists, and by orders."""
    await served.create()
    for path in ("/products/phone-case", "/products"):
        assert [(await served.seen(path))[0] for _ in range(2)] == ["miss", "hit"]
    changed = await served.send("PATCH", "/products/phone-case", {"unit_amount": 1799})
    assert (changed.status, (await changed.json())["version"]) == (200, 2)
    state, product = await served.seen("/products/phone-case")
    assert (state, product["unit_amount"], product["name"]) == ("miss", 1799, "Phone case")
    state, page = await served.seen("/products")
    assert (state, page["products"][0]["unit_amount"]) == ("miss", 1799)
    price = await served.backstage.primary().hget(keyspace.product("phone-case"), "unit_amount")
    assert price == "1799"


async def test_a_deleted_product_leaves_a_tombstone(served: Catalogue) -> None:
    """Orders find no price; a new product of the SKU is newer than the old one."""
    await served.create()
    assert (await served.send("DELETE", "/products/phone-case")).status == 204
    assert (await served.send("GET", "/products/phone-case")).status == 404
    assert (await served.seen("/products"))[1]["products"] == []
    key, primary = keyspace.product("phone-case"), served.backstage.primary()
    assert await primary.hgetall(key) == {"version": "2", "deleted": "1"}
    again = await served.create(unit_amount=5)
    assert again.headers["ETag"] == '"3"'
    assert (await primary.hmget(key, "version", "unit_amount", "deleted")) == ["3", "5", None]


async def test_conditions_are_kept(served: Catalogue) -> None:
    """What the client does not have is not sent; what it has not seen it does not change."""
    tag = (await served.create()).headers["ETag"]
    path = "/products/phone-case"
    for sent in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = await served.send("GET", path, If_None_Match=sent)
        assert (answer.status, answer.headers["ETag"], await answer.read()) == (304, tag, b"")
    assert (await served.send("GET", path, If_None_Match='"7"')).status == 200
    for sent in ('"7"', f"W/{tag}", "nonsense", '""'):
        for method, body in (("PATCH", {"unit_amount": 1}), ("DELETE", None)):
            refused = await served.send(method, path, body, If_Match=sent)
            assert (refused.status, refused.headers["ETag"]) == (412, tag)
            await problem_of(refused)
    changed = await served.send("PATCH", path, {"unit_amount": 1}, If_Match=f'"9", {tag}')
    assert changed.headers["ETag"] == '"2"'
    assert (await served.send("DELETE", path, If_Match="*")).status == 204


async def test_what_changes_nothing_is_no_new_version(served: Catalogue) -> None:
    """Asked twice, it is told once."""
    await served.create()
    for _ in range(2):
        same = await served.send("PATCH", "/products/phone-case", {"unit_amount": 1999})
        assert (same.status, same.headers["ETag"]) == (200, '"1"')


async def test_a_sku_is_taken_once(served: Catalogue) -> None:
    """409, with where it is."""
    await served.create()
    refused = await served.send("POST", "/products", CASE)
    assert (refused.status, refused.headers["Location"]) == (409, "/products/phone-case")
    assert (await problem_of(refused))["type"] == "/problems/product-exists"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"unit_amount": -1}, "unit_amount"),
    ({"unit_amount": 1_000_000_001}, "unit_amount"),
    ({"unit_amount": 19.99}, "unit_amount"),
    ({"unit_amount": "1999"}, "unit_amount"),
    ({"unit_amount": True}, "unit_amount"),
    ({"currency": "eur"}, "currency"),
    ({"currency": "ABC"}, "currency"),
    ({"name": ""}, "name"),
    ({"name": "a\nb"}, "name"),
    ({"name": "x" * 201}, "name"),
    ({"category": "a\x00"}, "category"),
    ({"description": None}, "description"),
    ({"colour": "red"}, "colour"),
    ({"sku": "search"}, "sku"),
    ({"sku": "a b"}, "sku"),
]


@pytest.mark.parametrize(("fields", "field"), WRONG, ids=lambda each: str(each)[:40])
async def test_what_is_no_product_is_422(served: Catalogue, fields: dict[str, Any], field: str) -> None:
    """Each field at fault is named, when it is added and when it is changed."""
    problem = await problem_of(await served.send("POST", "/products", CASE | fields))
    assert (problem["status"], [error["field"] for error in problem["errors"]]) == (422, [field])
    if field != "sku":
        await served.create()
        problem = await problem_of(await served.send("PATCH", "/products/phone-case", fields))
        assert (problem["status"], [error["field"] for error in problem["errors"]]) == (422, [field])


async def test_a_change_names_a_field(served: Catalogue) -> None:
    """And a product that is there."""
    await served.create()
    assert (await served.send("PATCH", "/products/phone-case", {})).status == 422
    for sku in ("other", "search", "a%20b"):
        for method in ("PATCH", "DELETE"):
            assert (await served.send(method, f"/products/{sku}", {"name": "x"})).status == 404


async def test_every_product_stands_on_one_page(served: Catalogue) -> None:
    """In the order of their SKUs, of a category or of all."""
    for number in range(12):
        await served.create(sku=f"p{number:02}", category="even" if number % 2 == 0 else "odd")
    for query, wanted in (("", range(12)), ("&category=even", range(0, 12, 2)), ("&category=none", ())):
        seen: list[str] = []
        path: str | None = f"/products?limit=5{query}"
        while path:
            page = (await served.seen(path))[1]
            seen += [product["sku"] for product in page["products"]]
            cursor = page["next_cursor"]
            path = f"/products?limit=5{query}&cursor={cursor}" if cursor else None
        assert seen == [f"p{number:02}" for number in wanted]


async def test_search_takes_text_as_text(served: Catalogue) -> None:
    """Words of names, descriptions, categories and SKUs, by their beginnings; signs mean nothing."""
    await served.create()
    await served.create(sku="kettle", name="Wasserkocher, 1,7 Liter", description="Für Tee", category="Küche")
    for query, found in (
        ("case", ["phone-case"]),
        ("PHO cas", ["phone-case"]),
        ("magnet electronics", ["phone-case"]),
        ("kettle tee", ["kettle"]),
        ("KÜCHE für", ["kettle"]),
        ("phone kettle", []),
        ("' OR 1=1 --", []),
        ('"phone" * ( NEAR case:*', []),
        ("phone & !case | <->", ["phone-case"]),
        ("%00\\", []),
        ("", []),
        ("()&|!:*'\"", []),
    ):
        for path in ("/products", "/products/search"):
            answer = await served.session.get(path, params={"q": query})
            assert [each["sku"] for each in (await answer.json())["products"]] == found, query


@pytest.mark.parametrize(
    "query", ["limit=0", "cursor=LWE", "q=" + "x" * 201, "category=" + "x" * 65, "a=1", "q=%00"]
)
async def test_a_wrong_parameter_is_named(served: Catalogue, query: str) -> None:
    """As in every list."""
    problem = await problem_of(await served.send("GET", f"/products?{query}"))
    assert (problem["status"], problem["errors"][0]["field"]) == (400, query.partition("=")[0])


async def test_events_tell_what_became_of_a_product(served: Catalogue) -> None:
    """In their order, with ids of their own, to an exchange that nothing need listen to."""
    await served.create()
    await served.send("PATCH", "/products/phone-case", {"unit_amount": 1799}, X_Correlation_ID="c7")
    await served.send("DELETE", "/products/phone-case")
    published = served.backstage.broker.published
    await wait_until(lambda: len(published) == 3, what="three events")
    events = [json.loads(message.body) for message in published]
    assert [(message.exchange, message.routing_key, message.mandatory) for message in published] == [
        ("shop.topic", f"product.{what}", False) for what in ("created", "updated", "deleted")
    ]
    assert [event["id"] for event in events] == [
        f"phone-case:product.{what}.v1:{version}"
        for version, what in enumerate(("created", "updated", "deleted"), 1)
    ]
    assert (events[1]["data"]["unit_amount"], events[1]["correlationid"]) == (1799, "c7")
    assert events[2]["data"] == {"sku": "phone-case", "version": 3}


async def test_a_change_of_stock_is_told(served: Catalogue) -> None:
    """Of a SKU that need not be a product, once a broker is there."""
    backstage = served.backstage
    backstage.broker.go_down()
    stock = RedisStockStore(backstage.primary(), timeout_seconds=30.0, most_skus=10)
    await stock.set("phone-case", 7)
    await stock.adjust("phone-case", -2)
    backstage.broker.come_back()
    published = backstage.broker.published
    await wait_until(lambda: bool(published), what="it is told")
    event = json.loads(published[-1].body)
    assert (published[-1].routing_key, event["data"]) == (
        "product.stock_updated",
        {"sku": "phone-case", "stock": 5},
    )


async def test_a_stampede_reads_the_database_once(
    backstage: Backstage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two replicas, with 250 readers at each."""
    reads = 0
    read = ProductStore.get

    async def counted(self: ProductStore, sku: str) -> Any:
        nonlocal reads
        reads += 1
        await asyncio.sleep(0.05)
        return await read(self, sku)

    async with catalogue(backstage) as first, catalogue(backstage) as second:
        await first.create()
        for replica in (first, second):
            await wait_until(partial(_is_read_from_cache, replica), what="the write is known everywhere")
        monkeypatch.setattr(ProductStore, "get", counted)
        await VolatileRedis(server=backstage.cache).flushall()
        answers = await asyncio.gather(
            *(replica.send("GET", "/products/phone-case") for replica in (first, second) for _ in range(250))
        )
    assert {answer.status for answer in answers} == {200}
    assert reads == 1


async def test_an_answer_near_its_end_is_given_while_one_reader_renews_it(
    backstage: Backstage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for the database, and nobody notices that it is away."""
    reads, may_go_on, read = 0, asyncio.Event(), ProductStore.get

    async def held(self: ProductStore, sku: str) -> Any:
        nonlocal reads
        reads += 1
        await may_go_on.wait()
        return await read(self, sku)

    async def is_away(*_: object) -> None:
        nonlocal reads
        reads += 1
        raise DatabaseUnavailable("the database is away")

    async with catalogue(backstage) as first, catalogue(backstage) as second:
        await first.create()
        for replica in (first, second):
            await wait_until(partial(_is_read_from_cache, replica), what="the write is known everywhere")
        cache: Any = VolatileRedis(server=backstage.cache, decode_responses=True)
        (key,) = await cache.keys("answer:*")
        fresh_until = int(await cache.hget(key, "fresh_until"))
        monkeypatch.setattr("catalogue.cache.LATE_SHARE", 1.0)
        monkeypatch.setattr(ProductStore, "get", held)
        for _ in range(20):
            assert await _is_read_from_cache(first)
            assert await _is_read_from_cache(second)
        await wait_until(lambda: reads > 0, what="somebody reads it anew")
        assert reads == 1
        may_go_on.set()

        async def is_renewed() -> bool:
            return int(await cache.hget(key, "fresh_until")) > fresh_until

        await wait_until(is_renewed, what="the answer holds for longer")
        monkeypatch.setattr(ProductStore, "get", is_away)
        for _ in range(20):
            assert await _is_read_from_cache(first)
        await wait_until(lambda: reads > 1, what="somebody asks for it in vain")
        assert await _is_read_from_cache(first)


async def _is_read_from_cache(replica: Catalogue) -> bool:
    return (await replica.seen("/products/phone-case"))[0] == "hit"


async def test_without_the_cache_the_database_is_read(served: Catalogue) -> None:
    """And what was written meanwhile is read past the cache until it has forgotten what it had."""
    await served.create()
    assert (await served.seen("/products/phone-case"))[0] == "miss"
    served.backstage.cache.connected = False
    assert (await served.seen("/products/phone-case"))[0] == "bypass"
    assert (await served.send("PATCH", "/products/phone-case", {"unit_amount": 5})).status == 200
    served.backstage.cache.connected = True
    state, product = await served.seen("/products/phone-case")
    assert (state, product["unit_amount"]) == ("bypass", 5)
    await wait_until(lambda: _is_read_from_cache(served), what="the cache has forgotten")
    assert (await served.seen("/products/phone-case"))[1]["unit_amount"] == 5


async def test_every_replica_reads_past_the_cache_until_it_has_forgotten(
    backstage: Backstage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the one that wrote cannot reach it: the write is noted in SQL."""

    async def nothing_is_carried(_: Carrier) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Carrier, "run", nothing_is_carried)
    cut_off = replace(backstage, cache=FakeServer())
    cut_off.cache.connected = False
    async with catalogue(backstage) as reading, catalogue(cut_off) as writing:
        await reading.create()
        await wait_until(partial(_is_read_from_cache, reading), what="an answer in the cache")
        assert (await writing.send("PATCH", "/products/phone-case", {"unit_amount": 5})).status == 200

        async def is_bypassed() -> bool:
            state, product = await reading.seen("/products/phone-case")
            return (state, product["unit_amount"]) == ("bypass", 5)

        await wait_until(is_bypassed, what="the write is known everywhere")
        assert (await reading.seen("/products"))[0] == "bypass"


async def test_without_the_database_the_cache_answers(
    backstage: Backstage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what it has, however old, and says so; what it does not have is 503."""

    async def is_away(*_: object) -> None:
        raise DatabaseUnavailable("the database is away")

    async with catalogue(backstage, product_cache_seconds=0.001, list_cache_seconds=0.001) as served:
        await served.create()
        for path in ("/products/phone-case", "/products"):
            assert (await served.seen(path))[0] == "miss"
        monkeypatch.setattr(ProductStore, "get", is_away)
        monkeypatch.setattr(ProductStore, "page", is_away)
        for path in ("/products/phone-case", "/products"):
            assert (await served.seen(path))[0] == "stale"
        refused = await served.send("GET", "/products/other")
        assert (refused.status, (await problem_of(refused))["type"]) == (
            503,
            "/problems/database-unavailable",
        )


async def test_a_cache_that_did_not_answer_is_not_asked_again(
    served: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader has waited for it already, and for the database."""
    looks = 0

    async def is_away(*_: object) -> None:
        raise DatabaseUnavailable("the database is away")

    async def is_silent(*_: object, **__: object) -> None:
        nonlocal looks
        looks += 1
        raise StoreUnavailable("the cache is silent")

    await served.create()
    await wait_until(partial(_is_read_from_cache, served), what="an answer in the cache")
    monkeypatch.setattr(ProductStore, "get", is_away)
    monkeypatch.setattr(RedisCache, "look", is_silent)
    assert (await served.send("GET", "/products/phone-case")).status == 503
    assert looks == 1


async def test_without_the_primary_stock_is_absent_and_a_price_waits(served: Catalogue) -> None:
    """Said in a note; the price follows once the store is back."""
    await served.create()
    served.backstage.store.connected = False
    _, product = await served.seen("/products/phone-case")
    assert "stock" not in product
    assert "not known" in product["note"]
    _, page = await served.seen("/products")
    assert ("stock" not in page["products"][0], "not known" in page["note"]) == (True, True)
    assert (await served.send("PATCH", "/products/phone-case", {"unit_amount": 5})).status == 200
    served.backstage.store.connected = True
    primary = served.backstage.primary()

    async def is_there() -> bool:
        return bool(await primary.hget(keyspace.product("phone-case"), "unit_amount") == "5")

    await wait_until(is_there, what="the price")


async def test_the_hit_rate_is_counted(served: Catalogue) -> None:
    """By what was read and where it came from."""
    await served.create()
    for _ in range(3):
        await served.seen("/products/phone-case")
    assert await served.figure('catalogue_reads_total{cache="hit",what="product"}') == 2
    assert await served.figure('catalogue_reads_total{cache="miss",what="product"}') == 1


async def test_its_own_port_asks_for_tokens_where_the_gateway_does(
    backstage: Backstage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Products are read by anybody and written by operators; nobody goes around the gateway."""
    monkeypatch.setenv("GATEWAY_AUTH", "required")
    async with catalogue(backstage) as guarded:
        assert (await guarded.send("POST", "/products", CASE)).status == 401
        assert (await guarded.send("DELETE", "/products/phone-case")).status == 401
        assert (await guarded.send("GET", "/products")).status == 200
    monkeypatch.setenv("CATALOGUE_AUTH", "optional")
    async with catalogue(backstage) as open_to_all:
        await open_to_all.create()
