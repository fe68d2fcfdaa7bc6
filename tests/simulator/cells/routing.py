"""Sends each customer's requests to the cell that has its slot, by a copy of the map that may be old."""

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from shared.errors import StoreUnavailable
from shared.orders.moves import Move, MoveResult, NotMovable
from shared.orders.placement import OutboxFull, Placement, PlacementResult
from tests.simulator.cells.slots import Holding, SlotMap, slot_of
from tests.simulator.clients import NoAnswer
from tests.simulator.supervision import Supervisor

REFRESHED: Final = 0.7
"""How often a router that was refused looks at the map; else it asks by the old one again."""


class CellRouter:
    """One of several, each with a copy of its own. ``owners`` stands for the slot in each order's id."""

    def __init__(
        self,
        slot_map: SlotMap,
        cells: Mapping[str, Supervisor],
        customers: int,
        owners: dict[str, str],
        dice: random.Random,
    ) -> None:
        self._map = slot_map
        self._cells = cells
        self._customers = customers
        self._owners = owners
        self._dice = dice
        self._copy: list[Holding] = list(slot_map.holdings)

    async def place(self, placement: Placement) -> PlacementResult:
        """One order. Raises as the supervisor does."""
        customer = self._customer_of(placement)
        self._owners[placement.order.id] = customer
        try:
            return await self._cell_of(customer).place(replace(placement, customer=customer))
        except (OutboxFull, NoAnswer):
            await self._refresh()
            raise

    async def move(self, order_id: str, move: Move) -> MoveResult | None:
        """One move. Raises as the supervisor does."""
        result = await self._cell_of(self._owners[order_id]).move(order_id, move)
        if result is None or isinstance(result, NotMovable):
            await self._refresh()
        return result

    def _cell_of(self, customer: str) -> Supervisor:
        return self._cells[self._copy[slot_of(customer)].cell]

    async def _refresh(self) -> None:
        if self._dice.random() >= REFRESHED:
            return
        try:
            self._copy = await self._map.read()
        except StoreUnavailable:
            return

    def _customer_of(self, placement: Placement) -> str:
        """The same for what is asked for again: names of clients end in digits."""
        name = placement.trace.correlation_id.partition(".")[0]
        number = int("".join(each for each in name if each.isdigit()))
        return f"customer-{number % self._customers}"
