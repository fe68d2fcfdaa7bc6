"""Moves slots from cell to cell: fence, copy, hand over, forget. Any of these processes goes on where another died."""

import asyncio
from collections.abc import Mapping
from typing import Final

from shared.messaging.waiting import repeating
from shared.service.lifecycle import running
from tests.simulator.cells.cell_store import CellStore
from tests.simulator.cells.slots import Holding, SlotMap

PAUSE_SECONDS: Final = 0.5


class SlotMover:
    """Carries out the moves that the map names. Every step may be made twice, late, or by several of these."""

    def __init__(self, slot_map: SlotMap, stores: Mapping[str, CellStore]) -> None:
        self._map = slot_map
        self._stores = stores

    async def run(self, stop: asyncio.Event) -> None:
        """See Service."""
        async with running(repeating(self._round, PAUSE_SECONDS, what="the moving of slots")):
            await stop.wait()

    async def _round(self) -> None:
        for slot, holding in enumerate(await self._map.read()):
            if holding.source is not None and not holding.is_open:
                holding = await self._hand_over(slot, holding, holding.source)  # noqa: PLW2901 - a step on
            if holding.source is not None and holding.is_open:
                await self._clean_up(slot, holding, holding.source)

    async def _hand_over(self, slot: int, holding: Holding, source: str) -> Holding:
        """The holding once its new cell takes orders, or as it was where a later move has begun."""
        old, new, epoch = self._stores[source], self._stores[holding.cell], holding.epoch
        if not await self.shut(old, slot, epoch):
            return holding
        for order in await old.orders_in(slot):
            if not await new.adopt(slot, epoch, order):
                break  # open by now, or moved on
        if not await new.hold(slot, epoch, is_open=True):
            return holding
        is_changed = await self._map.change(slot, holding, holding.opened())
        return holding.opened() if is_changed else holding

    async def shut(self, old: CellStore, slot: int, epoch: int) -> bool:
        """From here on the old cell neither accepts nor decides for this slot."""
        return await old.hold(slot, epoch, is_open=False)

    async def _clean_up(self, slot: int, holding: Holding, source: str) -> None:
        old = self._stores[source]
        for order in await old.orders_in(slot):
            if not await old.forget(slot, holding.epoch, order):
                return
        await self._map.change(slot, holding, holding.settled())
