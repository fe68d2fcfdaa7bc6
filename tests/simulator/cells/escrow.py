"""Lends stock to other cells: debited here first, then credited there, once, however often that is said."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Final

from shared.messaging.waiting import repeating
from shared.service.lifecycle import running
from tests.simulator.cells.cell_store import CellStore
from tests.simulator.cells.repeats import Repeats
from tests.simulator.weather import Weather

PAUSE_SECONDS: Final = 0.7
MOST_PIECES: Final = 12


class Escrow:
    """One cell's: it sends what is in escrow until it is taken, and lends at random until all is calm."""

    def __init__(
        self,
        name: str,
        stores: Mapping[str, CellStore],
        skus: Sequence[str],
        weather: Weather,
        repeats: Repeats,
        dice: random.Random,
    ) -> None:
        self._name = name
        self._own = stores[name]
        self._others = {cell: store for cell, store in stores.items() if cell != name}
        self._skus = skus
        self._repeats = repeats
        self._weather = weather
        self._dice = dice

    async def run(self, stop: asyncio.Event) -> None:
        """See Service."""
        async with running(repeating(self._round, PAUSE_SECONDS, what="escrow")):
            await stop.wait()

    async def _round(self) -> None:
        if not self._weather.is_calm:
            await self.lend(
                self._dice.choice([*self._others]),
                self._dice.choice(self._skus),
                self._dice.randint(1, MOST_PIECES),
            )
        for cell in self._others:
            await self.deliver(cell)

    async def lend(self, to: str, sku: str, qty: int) -> None:
        """Puts pieces into escrow, also where the answer is lost. Raises StoreUnavailable."""
        await self._own.debit(to, sku, qty)

    async def deliver(self, to: str) -> None:
        """Has a cell take what is on its way to it, the oldest first. Raises StoreUnavailable."""
        for number, sku, qty in await self._own.in_escrow(to):
            if await self.credit(to, number, sku, qty) >= number:
                await self._own.settle(to, number)

    async def credit(self, to: str, number: int, sku: str, qty: int) -> int:
        """See CellStore."""
        return await self._repeats.send(lambda: self._others[to].credit(self._name, number, sku, qty))
