"""``python -m tests.simulator.cells --seeds 0-9999``, and ``--seed 1234 --trace`` to see one happen."""

import sys
from typing import Final

from tests.simulator.__main__ import main
from tests.simulator.cells.searching import cell_simulator, run_cells

PROGRAM: Final = "tests.simulator.cells"

if __name__ == "__main__":
    sys.exit(main(program=PROGRAM, world=cell_simulator, run=run_cells))
