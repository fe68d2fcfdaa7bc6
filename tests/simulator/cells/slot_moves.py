"""Moves slots from cell to cell: fence, copy, hand over, forget. One goes on where another has died."""

import asyncio
from collections.abc import Mapping
from typing import Final

from shared.messaging.waiting import repeating
from shared.service.lifecycle import running
from tests.simulator.cells.cell_store import CellStore, SlottedOrder
from tests.simulator.cells.repeats import Repeats
from tests.simulator.cells.slots import Holding, SlotMap

PAUSE_SECONDS: Final = 0.5


class SlotMover:
    """Carries out the moves that the map names. Each step may be made twice, late, or by several of these."""

    def __init__(self, slot_map: SlotMap, stores: Mapping[str, CellStore], repeats: Repeats) -> None:
        self._map = slot_map
        self._stores = stores
        self._repeats = repeats

    async def run(self, stop: asyncio.Event) -> None:
        """See Service."""
        async with running(repeating(self._round, PAUSE_SECONDS, what="the moving of slots")):
            await stop.wait()

    async def _round(self) -> None:
        """One that waits for a cell holds no other up."""
        holdings = enumerate(await self._map.read())
        results = await asyncio.gather(*(self._go_on(*each) for each in holdings), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _go_on(self, slot: int, holding: Holding) -> None:
        source = holding.source
        if source is not None and not holding.is_open:
            holding = await self.hand_over(slot, holding, source)
        if source is not None and holding.is_open:
            await self.clean_up(slot, holding, source)

    async def hand_over(self, slot: int, holding: Holding, source: str) -> Holding:
        """The holding once its new cell takes orders, or as it was where a later move has begun."""
        if not await self.hold(source, slot, holding.epoch, is_open=False):
            return holding
        for order in await self._stores[source].orders_in(slot):
            if not await self.adopt(holding.cell, slot, holding.epoch, order):
                break  # open by now, or moved on
        if not await self.hold(holding.cell, slot, holding.epoch, is_open=True):
            return holding
        is_changed = await self._map.change(slot, holding, holding.opened())
        return holding.opened() if is_changed else holding

    async def clean_up(self, slot: int, holding: Holding, source: str) -> None:
        """The old cell forgets what is in the new one; then the slot may move again."""
        for order in await self._stores[source].orders_in(slot):
            if not await self.forget(source, slot, holding.epoch, order):
                return
        await self._map.change(slot, holding, holding.settled())

    async def hold(self, cell: str, slot: int, epoch: int, *, is_open: bool) -> bool:
        """See CellStore."""
        return await self._repeats.send(lambda: self._stores[cell].hold(slot, epoch, is_open=is_open))

    async def adopt(self, cell: str, slot: int, epoch: int, order: SlottedOrder) -> bool:
        """See CellStore."""
        return await self._repeats.send(lambda: self._stores[cell].adopt(slot, epoch, order))

    async def forget(self, cell: str, slot: int, epoch: int, order: SlottedOrder) -> bool:
        """See CellStore."""
        return await self._repeats.send(lambda: self._stores[cell].forget(slot, epoch, order))
