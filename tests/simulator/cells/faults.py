"""What happens to whole cells: they are down, they are emptied, their slots move, and the map is away."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from tests.simulator.cells.cell import Cell
from tests.simulator.cells.slots import SLOTS, SlotMap
from tests.simulator.network import Network
from tests.simulator.store import Condition
from tests.simulator.trace import Trace

LONGEST_OUTAGE_SECONDS: Final = 6.0


class CellFaults:
    """Each kind at its own pace; within the cells things break as in one pipeline."""

    def __init__(
        self,
        pauses: Mapping[str, float],
        cells: Sequence[Cell],
        slot_map: SlotMap,
        trace: Trace,
        dice: random.Random,
    ) -> None:
        self._pauses = pauses
        self._cells = cells
        self._map = slot_map
        self._trace = trace
        self._dice = dice
        self._kinds: Mapping[str, Callable[[], Awaitable[None]]] = {
            "slot": self._move_a_slot,
            "cell_down": self._take_down,
            "evacuation": self._evacuate,
            "map_away": self._take_the_map_away,
        }

    def begin(self, network: Network) -> "Sequence[asyncio.Task[None]]":
        """From now on things break, until these are cancelled."""
        return [network.spawn(self._repeat(kind, mean)) for kind, mean in self._pauses.items()]

    def end(self) -> None:
        """All that was away is back."""
        for cell in self._cells:
            self._bring_back(cell)
        self._map.is_away = False

    async def _repeat(self, kind: str, mean_seconds: float) -> None:
        while True:
            await asyncio.sleep(self._dice.expovariate(1 / mean_seconds))
            await self._kinds[kind]()

    async def _move_a_slot(self) -> None:
        self._move(self._dice.randrange(SLOTS), self._dice.choice(self._cells).name)

    async def _evacuate(self) -> None:
        """Every slot of a cell goes to others."""
        leaving = self._dice.choice(self._cells)
        others = [cell.name for cell in self._cells if cell is not leaving]
        for slot, holding in enumerate(self._map.holdings):
            if holding.cell == leaving.name:
                self._move(slot, self._dice.choice(others))

    def _move(self, slot: int, to: str) -> None:
        seen = self._map.holdings[slot]
        if seen.source is None and seen.cell != to:
            self._map.change_now(slot, seen, seen.moving_to(to))
            self._trace.fault(f"slot {slot} is to move from {seen.cell} to {to} by epoch {seen.epoch + 1}")

    async def _take_down(self) -> None:
        """Store, broker and every process at once."""
        cell = self._dice.choice(self._cells)
        self._trace.fault(f"cell {cell.name} is down")
        cell.around.store.become(Condition.AWAY)
        cell.broker.queues.go_down()
        for place in cell.supervisor.places:
            place.process.kill()
        await asyncio.sleep(self._dice.random() * LONGEST_OUTAGE_SECONDS)
        self._bring_back(cell)

    def _bring_back(self, cell: Cell) -> None:
        cell.around.store.become(Condition.WELL)
        cell.broker.queues.come_back()
        self._trace.fault(f"cell {cell.name} is up")

    async def _take_the_map_away(self) -> None:
        """Routers go on by what they know, and what moves waits."""
        self._trace.fault("the map is away")
        self._map.is_away = True
        await asyncio.sleep(self._dice.random() * LONGEST_OUTAGE_SECONDS)
        self._map.is_away = False
