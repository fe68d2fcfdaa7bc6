"""Reads of a product at the gateway: what the catalogue answered before, with the stock of now."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from prometheus_client import CollectorRegistry

from api_gateway.product_reads import KNOWN_FOR_SECONDS, REMEMBERED_SECONDS, ProductReads
from shared.errors import StoreUnavailable
from shared.http.client import AskedService, ServiceAnswer, open_client
from shared.http.forwarding import Forwarding
from shared.http.limits import HttpLimits
from shared.http.metrics import HttpMetrics
from shared.http.negotiation import JSON
from shared.http.routes import application
from shared.http.server import serve
from shared.products.answers import VERSION, with_stock
from shared.products.routes import product_table
from tests.harness.catalogue import Backstage, catalogue, without_hurry
from tests.harness.endpoints import an_endpoint
from tests.harness.tokens import a_guard
from tests.harness.waiting import wait_until

HITS = 'catalogue_reads_total{cache="hit",what="product"}'


@dataclass(slots=True)
class Shop:
    """A catalogue of products at one price, the stock, and the time. ``meanwhile`` goes before an answer."""

    price: int = 1999
    version: str | None = "7"
    cache: str = "miss"
    pieces: int | StoreUnavailable | None = 45
    now: float = 100.0
    asked: list[str] = field(default_factory=list)
    meanwhile: Callable[[], Any] | None = None

    async def send(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> ServiceAnswer:
        """As the service that is asked."""
        self.asked.append(method)
        product = json.dumps({"sku": path.rpartition("/")[2], "unit_amount": self.price}).encode()
        named = web.Response(headers={"ETag": '"5"', "X-Cache": self.cache}, content_type=JSON).headers
        if self.version is not None:
            named[VERSION] = self.version
        if self.meanwhile is not None:
            await self.meanwhile()
        return ServiceAnswer(status=200, headers=named, body=with_stock(product, self.pieces))

    async def of_one(self, sku: str) -> int | None:
        """As the stock."""
        if isinstance(self.pieces, StoreUnavailable):
            raise self.pieces
        return self.pieces


@dataclass(slots=True)
class Reader:
    """A client of the gateway."""

    shop: Shop
    session: ClientSession

    async def seen(self, sku: str = "case", **headers: str) -> tuple[str, Any]:
        """Where a product's answer came from, and what it says."""
        async with self.session.get(f"/products/{sku}", headers=headers) as answer:
            assert (answer.status, "ETag" in answer.headers) == (200, True)
            assert VERSION not in answer.headers
            return answer.headers["X-Cache"], await answer.json()


@asynccontextmanager
async def reading(shop: Shop, service: AskedService | None = None) -> AsyncIterator[Reader]:
    """A gateway before it, or before another service."""
    reads = ProductReads(Forwarding(service or shop, HttpLimits(), prefix=""), shop, lambda: shop.now)
    app = application(product_table(reads.handler), a_guard())
    async with (
        serve(app, an_endpoint(), HttpMetrics(CollectorRegistry())) as port,
        ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        yield Reader(shop, session)


@pytest.fixture
async def reader() -> AsyncIterator[Reader]:
    """A client of a gateway that was asked nothing yet."""
    async with reading(Shop()) as opened:
        yield opened


async def test_what_was_asked_for_is_remembered_with_the_stock_of_now(reader: Reader) -> None:
    """The catalogue is asked once, and both answers are of one form."""
    assert await reader.seen() == ("miss", {"sku": "case", "unit_amount": 1999, "stock": 45})
    reader.shop.pieces = None
    assert await reader.seen() == ("hit", {"sku": "case", "unit_amount": 1999, "stock": None})
    reader.shop.pieces = StoreUnavailable("away")
    state, product = await reader.seen()
    assert (state, "stock" in product, "not known" in product["note"]) == ("hit", False, True)
    assert reader.shop.asked == ["GET"]


async def test_answers_hold_for_a_moment_after_the_catalogue_was_asked(reader: Reader) -> None:
    """For every product: what one is asked about says whether anything was written."""
    await reader.seen("case")
    await reader.seen("cable")
    reader.shop.now += KNOWN_FOR_SECONDS
    await reader.seen("case")
    assert len(reader.shop.asked) == 3
    assert (await reader.seen("cable"))[0] == "hit"
    assert len(reader.shop.asked) == 3


async def test_a_write_elsewhere_ends_everything_that_is_remembered(reader: Reader) -> None:
    """Whichever product it was: the first answer that knows of it tells."""
    await reader.seen("case")
    await reader.seen("cable")
    reader.shop.price, reader.shop.version = 5, "8"
    reader.shop.now += KNOWN_FOR_SECONDS
    await reader.seen("case")
    assert await reader.seen("cable") == ("miss", {"sku": "cable", "unit_amount": 5, "stock": 45})


async def test_the_time_counts_from_the_question(reader: Reader) -> None:
    """An answer that took long is old when it arrives."""

    async def slowly() -> None:
        reader.shop.now += KNOWN_FOR_SECONDS

    reader.shop.meanwhile = slowly
    await reader.seen()
    await reader.seen()
    assert len(reader.shop.asked) == 2


async def test_one_request_asks_before_the_time_is_over(reader: Reader) -> None:
    """The others are answered meanwhile, and nobody waits where many read."""
    await reader.seen()
    reader.shop.now += 0.75 * KNOWN_FOR_SECONDS
    goes_on = asyncio.Event()
    reader.shop.meanwhile = goes_on.wait
    early = asyncio.create_task(reader.seen())
    await wait_until(lambda: len(reader.shop.asked) == 2, what="the catalogue is asked again")
    assert (await reader.seen())[0] == "hit"
    goes_on.set()
    await early
    reader.shop.now += 0.5 * KNOWN_FOR_SECONDS
    assert (await reader.seen())[0] == "hit"
    assert len(reader.shop.asked) == 2


async def test_a_write_here_ends_it_at_once(reader: Reader) -> None:
    """Also what was being asked for when it began, which may be of before."""
    await reader.seen()
    async with reader.session.patch("/products/case", json={"unit_amount": 5}) as answer:
        assert answer.status == 200
    assert (await reader.seen())[0] == "miss"
    goes_on = asyncio.Event()
    reader.shop.meanwhile, reader.shop.asked = goes_on.wait, []
    before = asyncio.create_task(reader.seen("cable"))
    await wait_until(lambda: reader.shop.asked == ["GET"], what="the catalogue is asked")
    reader.shop.meanwhile = None
    async with reader.session.delete("/products/cable"):
        pass
    goes_on.set()
    await before
    reader.shop.asked = []
    await reader.seen("cable")
    assert reader.shop.asked == ["GET"]


async def test_what_names_no_version_is_not_remembered(reader: Reader) -> None:
    """It is what the catalogue says while its cache may hold what was."""
    reader.shop.version, reader.shop.cache = None, "bypass"
    assert [(await reader.seen())[0] for _ in range(2)] == ["bypass", "bypass"]


async def test_nothing_is_remembered_for_long(reader: Reader) -> None:
    """A product that was changed by hand, without a version, is seen some seconds later."""
    await reader.seen()
    for _ in range(round(REMEMBERED_SECONDS / KNOWN_FOR_SECONDS) + 1):
        reader.shop.now += KNOWN_FOR_SECONDS
        await reader.seen("cable")
    reader.shop.price = 5
    assert (await reader.seen())[1]["unit_amount"] == 5


async def test_the_catalogue_judges_conditions(reader: Reader) -> None:
    """Each request that has one goes there."""
    for _ in range(2):
        await reader.seen(**{"If-None-Match": '"1"'})
    assert len(reader.shop.asked) == 2


async def test_a_text_that_looks_like_stock_stays_where_it_is(reader: Reader) -> None:
    """What is taken off and put back is the member at the end."""
    sku = "a%22,%22stock%22:7"
    assert [await reader.seen(sku) for _ in range(2)][1] == (
        "hit",
        {"sku": sku, "unit_amount": 1999, "stock": 45},
    )


async def test_what_another_replica_writes_past_this_gateway_is_seen_through_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the real catalogue: its answers speak for what is remembered until it knows of the write."""
    without_hurry(monkeypatch)
    backstage, shop = Backstage(f"sqlite:///{tmp_path}/catalogue.db"), Shop()
    async with (
        catalogue(backstage) as replica,
        catalogue(backstage) as other,
        open_client("catalogue", str(replica.session._base_url)) as service,
        reading(shop, service) as reader,
    ):
        await replica.create()

        async def is_remembered() -> bool:
            await reader.seen("phone-case")
            hits = await replica.figure(HITS)
            return (await reader.seen("phone-case"))[0] == "hit" and await replica.figure(HITS) == hits

        async def is_seen() -> bool:
            shop.now += KNOWN_FOR_SECONDS
            return bool((await reader.seen("phone-case"))[1]["unit_amount"] == 5)

        await wait_until(is_remembered, what="the gateway answers by itself")
        assert (await other.send("PATCH", "/products/phone-case", {"unit_amount": 5})).status == 200
        assert (await reader.seen("phone-case"))[1]["unit_amount"] == 1999
        await wait_until(is_seen, what="the new price is seen")
