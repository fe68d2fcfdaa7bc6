"""One cell: a whole pipeline of its own, and what the other cells may ask of its store."""

from dataclasses import dataclass
from typing import Any

from tests.simulator.broker import SimulatedBroker
from tests.simulator.cells.cell_store import CellStore
from tests.simulator.cells.judging import CellWitness
from tests.simulator.faults import Faults
from tests.simulator.services import Surroundings
from tests.simulator.store import SCRIPTS, SimulatedStore, StoreServer
from tests.simulator.supervision import Supervisor


class WitnessedStore(SimulatedStore):
    """One cell's store, whose scripts' answers are seen."""

    cell: str
    witness: CellWitness

    def _carry_out(self, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        result = super()._carry_out(arguments, options)
        if arguments[0] in SCRIPTS:
            self.witness.saw(self.cell, arguments[3 : 3 + arguments[2]], result)
        return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What runs in one cell, and what breaks there."""

    name: str
    around: Surroundings
    supervisor: Supervisor
    faults: Faults
    store: CellStore

    @property
    def server(self) -> StoreServer:
        return self.around.store.server

    @property
    def broker(self) -> SimulatedBroker:
        return self.around.broker
