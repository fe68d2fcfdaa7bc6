"""Cells fail, move and lend stock: no order is lost or decided twice, no piece is sold twice or gone."""

import pytest

from tests.simulator.__main__ import main
from tests.simulator.cells.__main__ import PROGRAM
from tests.simulator.cells.planted import BUGS
from tests.simulator.cells.searching import cell_simulator, run_cells
from tests.simulator.cells.weather import MEAN_PAUSES, draw_cells
from tests.simulator.searching import report

CHUNKS, SEEDS_PER_CHUNK = 5, 20
SEEDS_PER_BUG, SEEDS_OF_WEATHER = 40, 3


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_promise_holds_over_cells(chunk: int) -> None:
    """Cells that are down, slots that move, routers with old maps: afterwards the oracle finds no fault."""
    first = chunk * SEEDS_PER_CHUNK
    found = run_cells(range(first, first + SEEDS_PER_CHUNK))
    assert found.failed is None, report(found.failed, with_trace=False)


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_of_cells_is_found(name: str) -> None:
    """Each by the fault that it is, so that none of the oracle's looks is there for nothing."""
    bug = BUGS[name]
    with bug.planting():
        assert any(
            found.startswith(bug.fault)
            for seed in range(bug.first_seed, bug.first_seed + SEEDS_PER_BUG)
            for found in cell_simulator().run(seed, plan=bug.climate(draw_cells(seed))).faults
        )


@pytest.mark.parametrize("name", {bug.climate: name for name, bug in BUGS.items()}.values())
def test_its_weather_alone_is_no_bug_of_cells(name: str) -> None:
    """What is found under it is the bug."""
    for seed in range(SEEDS_OF_WEATHER):
        outcome = cell_simulator().run(seed, plan=BUGS[name].climate(draw_cells(seed)))
        assert not outcome.faults, report(outcome, with_trace=False)


def test_everything_that_cells_must_bear_comes_up() -> None:
    """None of it is switched off by mistake."""
    assert {kind for seed in range(100) for kind in draw_cells(seed).between} == set(MEAN_PAUSES)
    counts = run_cells(range(10)).counts
    assert all(counts.values()), counts


def test_the_same_seed_is_the_same_run_of_cells() -> None:
    """A failure can be looked at as often as it takes."""
    first = cell_simulator().run(5, is_traced=True)
    cell_simulator().run(6)
    assert len(first.trace) > 100
    assert cell_simulator().run(5, is_traced=True).trace == first.trace


def test_a_seed_of_cells_that_fails_says_how_to_replay_it(capsys: pytest.CaptureFixture[str]) -> None:
    """By the program that knows cells."""
    with BUGS["a transfer is applied twice"].planting():
        failed = run_cells(range(SEEDS_PER_BUG)).failed
        assert failed is not None
        given = ["--seed", str(failed.plan.seed)]
        assert main(given, program=PROGRAM, world=cell_simulator, run=run_cells) == 1
    assert f"python -m {PROGRAM} --seed {failed.plan.seed} --trace" in capsys.readouterr().out
