"""Products in SQL. A write, its new version and what it promises to others are one transaction."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Select, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from catalogue.model import Product, ProductChanged, ProductExists, UnknownProduct
from catalogue.schema import OUTBOX, PRODUCTS, VERSIONS
from catalogue.search import postgres_query, sqlite_query, words_of
from shared.messages import Trace, event_time
from shared.shop_events import ProductCreated, ProductDeleted, ProductStep, ProductUpdated, shop_event
from shared.sql.database import Database
from shared.sql.outbox import EVENTS, SqlOutbox

SOURCE: Final = "catalogue"
PRICE: Final = "price"
"""The kind of the outbox' rows that stand for a price which orders do not see yet."""
CACHED: Final = "cached"
"""The kind of those that stand for a product of which the cache may hold what was."""
_COLUMNS: Final = tuple(PRODUCTS.c[name] for name in Product.__slots__)
_FOUND: Final = {
    "postgresql": "products.search @@ CAST(CAST(:asked AS text) AS tsquery)",
    "sqlite": "products.id IN (SELECT rowid FROM products_search WHERE products_search MATCH :asked)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What a list shows: of one category, or with words, or everything."""

    category: str | None = None
    words: Sequence[str] | None = None


def _now() -> int:
    return time.time_ns() // 1_000


class ProductStore:
    """Every method raises DatabaseUnavailable; after that of a write its outcome is unknown."""

    def __init__(self, database: Database, clock: Callable[[], int] = _now) -> None:
        self._database = database
        self._outbox = SqlOutbox(database, OUTBOX)
        self._clock = clock

    @property
    def outbox(self) -> SqlOutbox:
        """What the writes have promised."""
        return self._outbox

    async def get(self, sku: str) -> Product | None:
        """The product, None where there is none."""

        async def read(connection: AsyncConnection) -> Product | None:
            found = await _found(connection, sku)
            return None if found is None or found.deleted else found

        return await self._database.transaction(read)

    async def page(self, wanted: Filter, after: str, limit: int) -> Sequence[Product]:
        """Up to ``limit`` products whose SKUs come after ``after``, in their order."""
        if wanted.words is not None and not wanted.words:
            return []
        query = select(*_COLUMNS).where(PRODUCTS.c.sku > after, ~PRODUCTS.c.deleted)
        if wanted.category is not None:
            query = query.where(PRODUCTS.c.category == wanted.category)
        if wanted.words is not None:
            dialect = "sqlite" if self._database.is_sqlite else "postgresql"
            asked = (sqlite_query if self._database.is_sqlite else postgres_query)(wanted.words)
            query = query.where(text(_FOUND[dialect]).bindparams(asked=asked))
        return await self._rows(query.order_by(PRODUCTS.c.sku).limit(limit))

    async def count(self) -> int:
        """How many products there are."""
        query = select(func.count()).where(~PRODUCTS.c.deleted)

        async def read(connection: AsyncConnection) -> int:
            return int((await connection.execute(query)).scalar_one())

        return await self._database.transaction(read)

    async def states(self, after: str, limit: int) -> Sequence[Product]:
        """The same with tombstones and of everything, for who compares it with prices elsewhere."""
        query = select(*_COLUMNS).where(PRODUCTS.c.sku > after)
        return await self._rows(query.order_by(PRODUCTS.c.sku).limit(limit))

    async def states_of(self, skus: Collection[str]) -> Sequence[Product]:
        """The state of each of these that was ever there."""
        return await self._rows(select(*_COLUMNS).where(PRODUCTS.c.sku.in_(skus)))

    async def written(self, most: int, *, timeout_seconds: float) -> tuple[int, Collection[str]]:
        """The version that was given last, and up to ``most`` products of which the cache may hold what was.

        Both as of one instant: what was written up to that version is among them unless the cache forgot it.
        """
        pending = VERSIONS.outerjoin(OUTBOX, OUTBOX.c.kind == CACHED)
        query = select(VERSIONS.c.value, OUTBOX.c.subject).select_from(pending).distinct().limit(most)

        async def read(connection: AsyncConnection) -> tuple[int, Collection[str]]:
            rows = (await connection.execute(query)).all()
            return rows[0].value, frozenset(row.subject for row in rows if row.subject is not None)

        return await self._database.transaction(read, timeout_seconds=timeout_seconds)

    async def create(self, fields: Mapping[str, Any], trace: Trace) -> Product:
        """Adds a product. Raises ProductExists."""

        async def write(connection: AsyncConnection) -> Product:
            version, now = await _next_version(connection), self._clock()
            before = await _found(connection, fields["sku"])
            if before is not None and not before.deleted:
                raise ProductExists(before.sku)
            product = Product(**fields, version=version, created_at=now, updated_at=now)
            return await self._put(connection, product, trace, ProductCreated, is_new=before is None)

        return await self._database.transaction(write)

    async def change(
        self, sku: str, changes: Mapping[str, Any], expected: Collection[int] | None, trace: Trace
    ) -> Product:
        """Changes some fields of a product. What changes nothing leaves the version as it is.

        Raises UnknownProduct, and ProductChanged unless its version is one of those ``expected``.
        """

        async def write(connection: AsyncConnection) -> Product:
            version = await _next_version(connection)
            before = await _expected(connection, sku, expected)
            if replace(before, **changes) == before:
                return before
            after = replace(before, **changes, version=version, updated_at=self._clock())
            return await self._put(connection, after, trace)

        return await self._database.transaction(write)

    async def delete(self, sku: str, expected: Collection[int] | None, trace: Trace) -> Product:
        """Makes a tombstone of a product and returns it. Raises what ``change`` raises."""

        async def write(connection: AsyncConnection) -> Product:
            version = await _next_version(connection)
            before = await _expected(connection, sku, expected)
            after = replace(before, version=version, updated_at=self._clock(), deleted=True)
            return await self._put(connection, after, trace)

        return await self._database.transaction(write)

    async def overtake(self, seen: Mapping[str, int], trace: Trace) -> Collection[str]:
        """Gives products versions past those that were ``seen`` elsewhere: this database is older than what
        it wrote there, as after its restore from a backup. Returns which; what is as new is left alone.
        """

        async def write(connection: AsyncConnection) -> Collection[str]:
            await _next_version(connection)
            highest = max(seen.values())
            await connection.execute(update(VERSIONS).where(VERSIONS.c.value < highest).values(value=highest))
            overtaken: list[str] = []
            for sku, version in sorted(seen.items()):
                found = await _found(connection, sku)
                if found is not None and found.version < version:
                    newer = replace(found, version=await _next_version(connection))
                    await self._put(connection, newer, trace)
                    overtaken.append(sku)
            return overtaken

        return await self._database.transaction(write)

    async def _put(
        self,
        connection: AsyncConnection,
        product: Product,
        trace: Trace,
        kind: type[ProductStep] = ProductUpdated,
        *,
        is_new: bool = False,
    ) -> Product:
        """Writes a product and tells of it: as ``kind``, or that it is gone."""
        row = {name: getattr(product, name) for name in Product.__slots__}
        told = (product.sku, product.name, product.category, product.description)
        row["words"] = "" if product.deleted else " ".join(words_of(*told))
        if is_new:
            await connection.execute(insert(PRODUCTS).values(**row))
        else:
            await connection.execute(update(PRODUCTS).where(PRODUCTS.c.sku == product.sku).values(**row))
        event = shop_event(
            ProductDeleted(sku=product.sku, version=product.version)
            if product.deleted
            else kind(**product.shown()),
            source=SOURCE,
            number=product.version,
            time=event_time(product.updated_at),
            trace=trace,
        )
        for promise, body in ((PRICE, ""), (CACHED, ""), (EVENTS, event)):
            await self._outbox.add(connection, promise, product.sku, body)
        return product

    async def _rows(self, query: Select[Any]) -> Sequence[Product]:
        async def read(connection: AsyncConnection) -> Sequence[Product]:
            return [Product(**row._mapping) for row in await connection.execute(query)]

        return await self._database.transaction(read)


async def _next_version(connection: AsyncConnection) -> int:
    """Taken before anything else of a write: until its end no other write goes on."""
    counted = update(VERSIONS).values(value=VERSIONS.c.value + 1).returning(VERSIONS.c.value)
    return int((await connection.execute(counted)).scalar_one())


async def _found(connection: AsyncConnection, sku: str) -> Product | None:
    row = (await connection.execute(select(*_COLUMNS).where(PRODUCTS.c.sku == sku))).one_or_none()
    return None if row is None else Product(**row._mapping)


async def _expected(connection: AsyncConnection, sku: str, versions: Collection[int] | None) -> Product:
    found = await _found(connection, sku)
    if found is None or found.deleted:
        raise UnknownProduct(sku)
    if versions is not None and found.version not in versions:
        raise ProductChanged(found.version)
    return found
