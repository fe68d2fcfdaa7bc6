"""Of which products the cache may hold what was, and since when this replica knows.

A write stands in the outbox until the cache has confirmed that it forgot what was before. All replicas ask
for such rows four times a second, so that one whose last answer is not much older knows of every write of a
second ago. One that cannot ask trusts the cache no more.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import Final

from catalogue.model import WriteRefused
from shared.errors import DatabaseUnavailable

PAUSE_SECONDS: Final = 0.25
KNOWN_FOR_SECONDS: Final = 0.75
MOST_PENDING: Final = 1_000
"""With more of them, everything is read past the cache."""


class Freshness:
    """What may be read from the cache."""

    def __init__(
        self, ask: Callable[[], Awaitable[tuple[int, Collection[str]]]], clock: Callable[[], float]
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._pending: frozenset[str] = frozenset()
        self._version = 0
        self._asked_at = -KNOWN_FOR_SECONDS
        self._writing: Counter[str] = Counter()
        self._unconfirmed: dict[str, float] = {}
        self._confirmed: dict[str, float] = {}

    async def run(self) -> None:
        """Asks again and again, until cancelled."""
        while True:
            with contextlib.suppress(DatabaseUnavailable):
                await self.look()
            await asyncio.sleep(PAUSE_SECONDS)

    async def look(self) -> None:
        """Asks once. Raises DatabaseUnavailable."""
        began = self._clock()
        version, pending = await self._ask()
        self._unconfirmed = {sku: at for sku, at in self._unconfirmed.items() if at >= began}
        self._confirmed = {sku: at for sku, at in self._confirmed.items() if at >= began}
        self._pending = frozenset(pending).difference(self._confirmed)  # they were asked about before
        self._version = version
        self._asked_at = began

    def is_known(self) -> bool:
        """Whether what other replicas write is known here."""
        return self._clock() - self._asked_at < KNOWN_FOR_SECONDS

    def version(self) -> int | None:
        """The version of the last write that is known, None where the cache may hold what was before it."""
        return self._version if self.is_known() and not self.must_bypass(None) else None

    def unready_reason(self) -> str | None:
        """Why nothing is read from the cache, or None."""
        return None if self.is_known() else "writes of other replicas are not known"

    def must_bypass(self, sku: str | None) -> bool:
        """Whether the cache may hold what was before a write: of a product, or of a list (None)."""
        if sku is None:
            return bool(self._pending or self._writing or self._unconfirmed)
        is_pending = sku in self._pending or len(self._pending) >= MOST_PENDING
        return is_pending or sku in self._writing or sku in self._unconfirmed

    @asynccontextmanager
    async def writing(self, sku: str, confirmed: Callable[[], Awaitable[bool]]) -> AsyncIterator[None]:
        """Around a write: this replica reads past the cache until that has forgotten what was: ``confirmed``
        says so, or the outbox.
        """
        self._writing[sku] += 1
        is_refused = is_confirmed = False
        try:
            yield
            is_confirmed = await confirmed()
            if is_confirmed:
                self._pending = self._pending - {sku}
        except WriteRefused:
            is_refused = True
            raise
        finally:
            self._writing[sku] -= 1
            if not self._writing[sku]:
                del self._writing[sku]
            if not is_refused:  # a look may have put other books in the place of those that there were
                (self._confirmed if is_confirmed else self._unconfirmed)[sku] = self._clock()
