"""The pages that list stock and orders, as the server sends them."""

import re
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

import dashboard.orders.routes
import dashboard.stock.routes
from shared import keyspace
from tests.harness.afterlife import Afterlife, afterlife
from tests.harness.dead_dashboard import page, serving
from tests.harness.examples import an_order

PRODUCT = {"name": "Lamp <b>", "unit_amount": "1999", "currency": "EUR", "version": "1"}


@pytest.fixture
async def world() -> AsyncIterator[Afterlife]:
    """Three SKUs, and five orders: of them two are a customer's, and one is rejected."""
    async with afterlife() as made:
        await made.stock("cable", 0)
        await made.stock("lamp", 10)
        await made.stock("odd", "1e3")
        await made.redis.hset(keyspace.product("lamp"), mapping=PRODUCT)
        for number in range(4):
            await made.accept(an_order(f"lit{number}", email=None, lamp=1))
        await made.accept(an_order("dark", email=None, cable=1))
        await made.work()
        for order_id in ("lit1", "dark"):
            await made.redis.hset(keyspace.order(order_id), "customer", "ana")
            at = int(await made.redis.hget(keyspace.order(order_id), "accepted_at"))
            await made.redis.zadd(keyspace.orders_of("ana"), {order_id: at})
        yield made


@pytest.fixture
async def session(world: Afterlife) -> AsyncIterator[ClientSession]:
    """A dashboard over them."""
    async with serving(world) as made:
        yield made


def listed(html: str) -> list[str]:
    """What the rows are about, in their order."""
    return re.findall(r'<tr data-key="([^"]+)"', html)


async def test_stock_is_shown_beside_what_is_held_and_what_it_costs(session: ClientSession) -> None:
    """What is sold out, and what is no number, can be seen at once."""
    html = await page(session, "/stock")
    assert listed(html) == ["cable", "lamp", "odd"]
    assert "2 SKUs sold out" in html
    row = html.partition('data-key="lamp"')[2].partition("</tr>")[0]
    for told in ("Lamp &lt;b&gt;", ">6<", ">4<", "19.99 EUR"):
        assert told in row, told
    assert "no number" in html.partition('data-key="odd"')[2].partition("</tr>")[0]
    assert listed(await page(session, "/stock?sku=%20lamp")) == ["lamp"]
    assert "Nothing is known of it" in await page(session, "/stock?sku=nope")


async def test_a_product_that_another_program_broke_leaves_the_others_readable(
    world: Afterlife, session: ClientSession
) -> None:
    """Of any type."""
    await world.redis.delete(keyspace.product("lamp"))
    await world.redis.lpush(keyspace.product("lamp"), "no hash")
    assert listed(await page(session, "/stock")) == ["cable", "lamp", "odd"]
    await world.redis.hset(keyspace.product("cable"), mapping={"name": "x", "unit_amount": "many"})
    assert listed(await page(session, "/stock")) == ["cable", "lamp", "odd"]


async def test_lists_go_on_where_they_end(session: ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each SKU and each order once."""
    monkeypatch.setattr(dashboard.stock.routes, "SHOWN", 2)
    monkeypatch.setattr(dashboard.orders.routes, "LISTED", 2)
    for path, all_of_them in (
        ("/stock", ["cable", "lamp", "odd"]),
        ("/orders?status=created", ["lit3", "lit2", "lit1", "lit0"]),
    ):
        seen: list[str] = []
        following = path
        while following:
            html = await page(session, following)
            seen += listed(html)
            links = re.findall(r'href="([^"]*cursor=[^"]+)"', html)
            following = links[0].replace("&amp;", "&") if links else ""
        assert seen == all_of_them


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("status=created&customer=", ["lit3", "lit2", "lit1", "lit0"]),
        ("status=&customer=ana", ["dark", "lit1"]),
        ("status=rejected&customer=ana", ["dark"]),
        ("status=shipped", []),
    ],
)
async def test_orders_are_listed_by_status_and_customer(
    session: ClientSession, query: str, wanted: list[str]
) -> None:
    """What is left empty in the form rules nothing out."""
    assert listed(await page(session, f"/orders?{query}")) == wanted


async def test_an_order_leads_to_the_others_of_its_customer(session: ClientSession) -> None:
    """By a link."""
    assert 'href="/orders?customer=ana"' in await page(session, "/orders/lit1")


@pytest.mark.parametrize("path", ["/stock?sku=a/b", "/stock?cursor=!", "/orders?status=lost", "/orders?x=1"])
async def test_what_makes_no_sense_is_refused_by_name(session: ClientSession, path: str) -> None:
    """As a page."""
    name = path.partition("?")[2].partition("=")[0]
    assert f"{name} " in await page(session, path, 400)
