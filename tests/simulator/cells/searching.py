"""Seeds of cells, run one after the other in a process of the search."""

from collections.abc import Sequence
from functools import cache

from tests.simulator.cells.simulation import CellSimulator
from tests.simulator.searching import Found, run_each


@cache
def cell_simulator() -> CellSimulator:
    """The one simulator of cells of this process."""
    return CellSimulator()


def run_cells(seeds: Sequence[int]) -> Found:
    """Runs seeds up to the first that fails."""
    return run_each(cell_simulator(), seeds)
