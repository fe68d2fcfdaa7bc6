"""What the routes about products do."""

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import orjson
from aiohttp import web

from catalogue.freshness import Freshness
from catalogue.model import Product, ProductChanged, ProductExists, UnknownProduct
from catalogue.ports import Entry, Stock
from catalogue.projection import Projection
from catalogue.reading import CachedReader, CacheState
from catalogue.search import words_asked
from catalogue.store import Filter, ProductStore
from shared.context import logging_about
from shared.errors import StoreUnavailable
from shared.http.answers import WholeResponse, json_response
from shared.http.auth import actor_of
from shared.http.bodies import JsonBodies
from shared.http.clients import client_of
from shared.http.conditions import etag, expected_versions, has_already
from shared.http.edge import TRACE
from shared.http.limits import Gate, HeavyWork
from shared.http.listing import AFTER_SKU, LIMIT, ListParameter, cursor_text, read_parameters
from shared.http.negotiation import JSON
from shared.http.problems import INVALID_FIELDS, NOT_FOUND, FieldError, Problem, invalid
from shared.http.routes import Handler
from shared.http.validation import WHOLE_BODY, read_fields
from shared.logs import get_logger
from shared.messages import is_identifier
from shared.products.answers import NO_STOCK, VERSION, X_CACHE, with_stock
from shared.products.problems import PRODUCT_CHANGED, PRODUCT_EXISTS
from shared.products.routes import MAX_QUERY_LENGTH
from shared.products.schemas import MAX_CATEGORY_LENGTH, ProductBody, ProductChangeBody, ProductStatistics

LONGEST_PAGE: Final = 1_000_000
"""In bytes of what a page shows, so that the whole answer stays within 1 MiB."""
NOTHING: Final = "0"
"""What the cache has of a SKU that has no product; of others it has the version, a blank, and the JSON."""

log = get_logger(__name__)


class CatalogueRoutes:
    """Reads through the cache, writes past it."""

    def __init__(
        self,
        store: ProductStore,
        projection: Projection,
        reader: CachedReader,
        freshness: Freshness,
        stock: Stock,
        *,
        bodies: JsonBodies,
        lists: HeavyWork,
        gate: Gate,
    ) -> None:
        self._store = store
        self._projection = projection
        self._reader = reader
        self._freshness = freshness
        self._stock = stock
        self._bodies = bodies
        self._lists = lists
        self._gate = gate
        self._handlers: Mapping[str, Handler] = {
            "listProducts": self.list,
            "searchProducts": self.list,
            "getProductStatistics": self.statistics,
            "getProduct": self.show,
            "createProduct": self.create,
            "changeProduct": self.change,
            "deleteProduct": self.delete,
        }

    def handler(self, name: str) -> Handler:
        """What answers the route of this name, as long as not too many are at work."""
        return self._gate.around(self._handlers[name])

    async def list(self, request: web.Request) -> web.Response:
        """``GET /products`` and ``GET /products/search``"""
        asked = read_parameters(request, category=_CATEGORY, q=_QUERY, limit=LIMIT, cursor=AFTER_SKU)
        query, limit, after = asked["q"], asked["limit"], asked["cursor"]
        words = None if query is None else words_asked(query)
        wanted = Filter(category=asked["category"], words=words)
        place = orjson.dumps([wanted.category, words, after, limit])
        entry = Entry(key=f"list:{hashlib.blake2b(place, digest_size=16).hexdigest()}", sku=None)

        async def load() -> str:
            return _page(await self._store.page(wanted, after, limit + 1), limit)

        reading = await self._reader.read(entry, load)
        async with self._lists.turn(client_of(request)):
            answer = orjson.loads(reading.body)
            try:
                levels = await self._stock.of_many([each["sku"] for each in answer["products"]])
                for each, stock in zip(answer["products"], levels, strict=True):
                    each["stock"] = stock
            except StoreUnavailable:
                answer["note"] = NO_STOCK
            return json_response(answer, headers={X_CACHE: reading.state})

    async def show(self, request: web.Request) -> web.Response:
        """``GET /products/{sku}``"""
        sku = _known_form(request)

        async def load() -> str:
            product = await self._store.get(sku)
            return NOTHING if product is None else f"{product.version} {_json(product)}"

        entry = Entry(key=f"product:{sku}", sku=sku)
        reading = await self._reader.read(entry, load, lambda: self._stock.begin(sku))
        if reading.body == NOTHING:
            raise _unknown({X_CACHE: reading.state})
        version, _, shown = reading.body.partition(" ")
        headers = {"Content-Type": JSON, "ETag": etag(int(version)), X_CACHE: reading.state.value}
        if has_already(request, int(version)):
            del headers["Content-Type"]
            return web.Response(status=304, headers=headers)
        if reading.version is not None and reading.version == self._freshness.version():
            headers[VERSION] = str(reading.version)
        return WholeResponse(body=with_stock(shown.encode(), reading.stock), headers=headers)

    async def statistics(self, _: web.Request) -> web.Response:
        """``GET /products/stats``"""
        reads = self._reader.reads()
        answers = sum(reads.values())
        return json_response(
            ProductStatistics(
                products=await self._store.count(),
                reads=reads,
                cache_hit_rate=round(reads[CacheState.HIT.value] / answers, 4) if answers else None,
            )
        )

    async def create(self, request: web.Request) -> web.Response:
        """``POST /products``"""
        body = read_fields(ProductBody, await self._bodies.read(request))
        location = {"Location": f"/products/{body.sku}"}
        try:
            async with self._writing("create", body.sku, request):
                product = await self._store.create(body.model_dump(), request[TRACE])
        except ProductExists as error:
            detail = "There is a product of this SKU: PATCH changes it."
            raise Problem(PRODUCT_EXISTS, detail, headers=location) from error
        return await self._written(product, status=201, **location)

    async def change(self, request: web.Request) -> web.Response:
        """``PATCH /products/{sku}``"""
        sku = _known_form(request)
        changes = read_fields(ProductChangeBody, await self._bodies.read(request)).changes()
        if not changes:
            fault = FieldError(field=WHOLE_BODY, message="must name a field to change")
            raise invalid(INVALID_FIELDS, [fault])
        async with self._writing("change", sku, request):
            product = await self._store.change(sku, changes, expected_versions(request), request[TRACE])
        return await self._written(product)

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE /products/{sku}``"""
        sku = _known_form(request)
        async with self._writing("delete", sku, request):
            await self._store.delete(sku, expected_versions(request), request[TRACE])
        return web.Response(status=204)

    @asynccontextmanager
    async def _writing(self, action: str, sku: str, request: web.Request) -> AsyncIterator[None]:
        """Around a write: makes problems of refusals, leaves an audit line, and sees to what follows."""
        try:
            with logging_about(action=action, sku=sku, by=actor_of(request)):
                async with self._freshness.writing(sku, self._projection.follow):
                    yield
                    log.info("product written")
        except UnknownProduct as error:
            raise _unknown() from error
        except ProductChanged as error:
            detail = f"Its version is {error.version} now. Nothing was changed."
            raise Problem(PRODUCT_CHANGED, detail, headers={"ETag": etag(error.version)}) from error
        finally:
            self._reader.forget()

    async def _written(self, product: Product, status: int = 200, **headers: str) -> web.Response:
        tagged = {"ETag": etag(product.version), **headers}
        try:
            stock: int | StoreUnavailable | None = await self._stock.of_one(product.sku)
        except StoreUnavailable as error:
            stock = error
        body = with_stock(_json(product).encode(), stock)
        return WholeResponse(body=body, status=status, headers={"Content-Type": JSON, **tagged})


def _json(product: Product) -> str:
    return orjson.dumps(product.shown(), option=orjson.OPT_UTC_Z).decode()


def _page(products: Sequence[Product], limit: int) -> str:
    """A page of the first ``limit`` products, fewer where it would be too long; there may be one more."""
    shown: list[str] = []
    size = 0
    for product in products[:limit]:
        text = _json(product)
        size += len(text.encode()) + len("null") * 5
        if shown and size > LONGEST_PAGE:
            break
        shown.append(text)
    more = len(products) > len(shown)
    cursor = f'"{cursor_text(products[len(shown) - 1].sku)}"' if more else "null"
    return f'{{"products":[{",".join(shown)}],"next_cursor":{cursor}}}'


def _known_form(request: web.Request) -> str:
    sku = request.match_info["sku"]
    if not is_identifier(sku):
        raise _unknown()
    return sku


def _unknown(headers: Mapping[str, str] | None = None) -> Problem:
    return Problem(NOT_FOUND, "There is no such product.", headers=headers)


def _text(longest: int) -> ListParameter:
    def parse(value: str) -> str:
        if len(value) > longest:
            raise ValueError(f"must have at most {longest} characters")
        if "\0" in value or (not value.isascii() and value != value.encode("utf-8", "ignore").decode()):
            raise ValueError("must be text")
        return value

    return ListParameter(parse=parse)


_CATEGORY: Final = _text(MAX_CATEGORY_LENGTH)
_QUERY: Final = _text(MAX_QUERY_LENGTH)
