"""From what was written to where it is read: prices to orders, and out of the cache with what was before.

Each write has left rows in the outbox, in its own transaction. They are carried right after it, and again by
loops of every replica until they are gone, so that a death anywhere costs a moment. All of it may be done
twice. What the prices are compared with, at the start and then every minute, is the whole catalogue.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from catalogue.ports import Cache, PriceBoard
from catalogue.store import CACHED, PRICE, ProductStore
from shared.context import trace_of
from shared.errors import DependencyUnavailable
from shared.logs import get_logger
from shared.messaging.waiting import waiting_out
from shared.service.carrying import Carrier
from shared.sql.outbox import OutboxRow

FOLLOWED_FOR_SECONDS: Final = 0.5
"""How long the answer to a write waits for what follows from it."""
COMPARED_AT_ONCE: Final = 200
COMPARED_EVERY_SECONDS: Final = 60.0

log = get_logger(__name__)


class Projection:
    """Carries prices and invalidations."""

    def __init__(self, store: ProductStore, board: PriceBoard, cache: Cache) -> None:
        self._store = store
        self._board = board
        self._cache = cache
        self.prices = Carrier(store.outbox, PRICE, self._show)
        self.invalidations = Carrier(store.outbox, CACHED, self._invalidate)

    async def follow(self) -> bool:
        """Right after a write: carries what there is, for a moment at most. Whether the cache forgot."""
        rounds = [asyncio.ensure_future(each.round()) for each in (self.invalidations, self.prices)]
        try:
            await asyncio.wait(rounds, timeout=FOLLOWED_FOR_SECONDS)
        finally:
            for task in rounds:
                task.cancel()
        results = await asyncio.gather(*rounds, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, DependencyUnavailable):
                raise result
        return results[0] is None

    async def run(self) -> None:
        """Compares all prices with the catalogue, again and again until cancelled."""
        while True:
            await waiting_out(self.compare)
            await asyncio.sleep(COMPARED_EVERY_SECONDS)

    async def compare(self) -> None:
        """Writes every price that is not right. Raises DependencyUnavailable."""
        after = ""
        while products := await self._store.states(after, COMPARED_AT_ONCE):
            after = products[-1].sku
            newer = await self._board.show(products)
            # what was written since it was read here is newer too, and right
            overtaken = await self._store.overtake(newer, trace_of(None, None)) if newer else ()
            if overtaken:
                log.warning(
                    "prices were newer than the catalogue, which overtook them", skus=list(overtaken)[:20]
                )

    async def _show(self, rows: Sequence[OutboxRow]) -> None:
        await self._board.show(await self._store.states_of({row.subject for row in rows}))

    async def _invalidate(self, rows: Sequence[OutboxRow]) -> None:
        await self._cache.invalidate({row.subject for row in rows})
