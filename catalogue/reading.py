"""Reading through the cache: an answer that holds, else the database, which one caller reads for all.

The database is away: what the cache has, said to be stale. The cache is away, or may hold what was: the
database. Both are away: an error that says so. An answer that holds not much longer is read anew beside.
"""

import asyncio
from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter

from catalogue.freshness import Freshness
from catalogue.ports import Cache, Entry, Look
from shared.errors import DatabaseUnavailable, StoreUnavailable

POLL_SECONDS: Final = 0.02
LONGEST_WAIT_SECONDS: Final = 0.5
"""For the reader of another replica."""
NOTHING_KNOWN: Final = Look(body=None)

BeginStock = Callable[[], "asyncio.Future[int | None]"]
Load = Callable[[], Awaitable[str]]
Stock = int | StoreUnavailable | None


class CacheState(StrEnum):
    """Where an answer came from."""

    HIT = "hit"
    MISS = "miss"
    STALE = "stale"
    BYPASS = "bypass"


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer's body, where it came from, and what was read beside it, of which there may be none.

    ``version`` is of the last write that was known when the reading began, None where the answer may be of
    before it.
    """

    body: str
    state: CacheState
    stock: Stock = None
    version: int | None = None


class ReadFigures:
    """How often answers came from where, for Prometheus: the cache's hit rate."""

    def __init__(self, registry: CollectorRegistry) -> None:
        reads = Counter("catalogue_reads", "Products and lists read", ["what", "cache"], registry=registry)
        self._counts = {
            (is_list, state): reads.labels("list" if is_list else "product", state)
            for is_list in (False, True)
            for state in CacheState
        }

        self.reads: Tally[CacheState] = Tally()

    def count(self, entry: Entry, state: CacheState) -> None:
        """An answer was given."""
        self._counts[entry.sku is None, state].inc()
        self.reads[state] += 1


class CachedReader:
    """Reads answers. Callers in this process that ask for the same one share a reading."""

    def __init__(
        self,
        cache: Cache,
        freshness: Freshness,
        *,
        cache_reason: Callable[[], str | None],
        database_reason: Callable[[], str | None],
        figures: ReadFigures,
    ) -> None:
        self._cache = cache
        self._freshness = freshness
        self._cache_reason = cache_reason
        self._database_reason = database_reason
        self._under_way: dict[str, asyncio.Task[Reading]] = {}
        self._beforehand: dict[str, asyncio.Task[Reading]] = {}
        self._figures = figures

    async def read(self, entry: Entry, load: Load, stock: BeginStock | None = None) -> Reading:
        """The answer, with the stock of the moment. Raises DatabaseUnavailable where there is none at all."""
        is_silent = False
        if entry.key not in self._under_way:
            try:
                if (hit := await self._hit(entry, load, stock)) is not None:
                    self._figures.count(entry, hit.state)
                    return hit
            except StoreUnavailable:
                is_silent = True
        task = self._under_way.get(entry.key)
        if task is None:
            reading_both = self._read_both(entry, load, stock, is_silent)
            task = _begun(self._under_way, entry.key, reading_both)
        reading = await asyncio.shield(task)
        self._figures.count(entry, reading.state)
        return reading

    def reads(self) -> Mapping[str, int]:
        """How many answers of this process came from where."""
        return {state.value: self._figures.reads[state] for state in CacheState}

    def forget(self) -> None:
        """Callers from now on share no reading that began before: there was a write."""
        self._under_way.clear()

    async def _hit(self, entry: Entry, load: Load, stock: BeginStock | None) -> Reading | None:
        """What the cache has and holds, without a task of its own: what nearly every reading is.

        Raises StoreUnavailable, after which this reading does not ask the cache again.
        """
        freshness = self._freshness
        if self._cache_reason() or freshness.must_bypass(entry.sku) or not freshness.is_known():
            return None
        version = freshness.version()
        beside = None if stock is None else stock()
        try:
            look = await self._cache.look(entry, may_read=False)
            if not look.holds or look.body is None or not freshness.is_known():
                return None
            if look.is_late and entry.key not in self._beforehand:
                _begun(self._beforehand, entry.key, self._read(entry, load, False))
            return Reading(
                look.body, CacheState.HIT, None if beside is None else await _told(beside), version
            )
        finally:
            if beside is not None:
                _drop(beside)

    async def _read_both(
        self, entry: Entry, load: Load, stock: BeginStock | None, is_silent: bool
    ) -> Reading:
        """One is waited for while the other is."""
        if stock is None:
            return await self._read(entry, load, is_silent)
        version = self._freshness.version()
        beside = stock()
        try:
            reading = await self._read(entry, load, is_silent)
            is_cached = reading.state in {CacheState.HIT, CacheState.MISS}
            return replace(reading, stock=await _told(beside), version=version if is_cached else None)
        finally:
            _drop(beside)

    async def _read(self, entry: Entry, load: Load, is_asked: bool) -> Reading:
        """``is_asked`` is whether the cache was, and did not answer."""
        look = NOTHING_KNOWN
        if not is_asked and not self._freshness.must_bypass(entry.sku):
            is_asked = True
            look = await self._look(entry, may_read=self._freshness.is_known())
            if self._freshness.is_known():
                look = await self._other_reader(entry, look)
                if look.holds and look.body is not None:
                    return Reading(look.body, CacheState.HIT)
        try:
            body = await self._load(load)
        except DatabaseUnavailable:
            await self._fill(entry, look, "")
            if not is_asked:
                look = await self._look(entry, may_read=False)
            if look.body is None:
                raise
            return Reading(look.body, CacheState.STALE)
        await self._fill(entry, look, body)
        return Reading(body, CacheState.BYPASS if look.token is None else CacheState.MISS)

    async def _look(self, entry: Entry, *, may_read: bool) -> Look:
        if self._cache_reason() is not None:
            return NOTHING_KNOWN
        try:
            return await self._cache.look(entry, may_read=may_read)
        except StoreUnavailable:
            return NOTHING_KNOWN

    async def _other_reader(self, entry: Entry, look: Look) -> Look:
        """Waits for what a reader of another replica puts into the cache."""
        loop = asyncio.get_running_loop()
        until = loop.time() + LONGEST_WAIT_SECONDS
        while not look.holds and look.token is None and look is not NOTHING_KNOWN and loop.time() < until:
            await asyncio.sleep(POLL_SECONDS)
            look = await self._look(entry, may_read=True)
        return look

    async def _load(self, load: Load) -> str:
        if (reason := self._database_reason()) is not None:
            raise DatabaseUnavailable(reason)
        return await load()

    async def _fill(self, entry: Entry, look: Look, body: str) -> None:
        if look.token is None:
            return
        try:
            await self._cache.fill(entry, look, body)
        except StoreUnavailable:
            return  # the next reader fills it


def _begun(
    tasks: dict[str, asyncio.Task[Reading]], key: str, reading: Coroutine[Any, Any, Reading]
) -> asyncio.Task[Reading]:
    """A task that stands among ``tasks`` until its end, or until another has its place."""

    def end(done: asyncio.Task[Reading]) -> None:
        if tasks.get(key) is done:
            del tasks[key]
        if not done.cancelled():
            done.exception()  # every caller may have gone

    task = tasks[key] = asyncio.create_task(reading)
    task.add_done_callback(end)
    return task


async def _told(stock: "asyncio.Future[int | None]") -> Stock:
    try:
        return await stock
    except StoreUnavailable as error:
        return error
    finally:
        del stock  # an error keeps this frame, and it the error


def _drop(stock: "asyncio.Future[int | None]") -> None:
    """It may never have been waited for."""
    if not stock.cancel() and not stock.cancelled():
        stock.exception()
