"""``python -m tests.simulator --seeds 0-9999``, and ``--seed 1234 --trace`` to see one of them happen."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence

from rich.console import Console

from tests.simulator.searching import (
    PROGRAM,
    Found,
    SeededWorld,
    report,
    run_all,
    search,
    simulator,
    summary,
)
from tests.simulator.simulation import Outcome

PROGRESS_SECONDS = 5.0


def main(
    given: Sequence[str] | None = None,
    *,
    program: str = PROGRAM,
    world: Callable[[], SeededWorld] = simulator,
    run: Callable[[Sequence[int]], Found] = run_all,
) -> int:
    """Looks for a seed that fails; 1 if there is one."""
    arguments = _parser(program).parse_args(given)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    if arguments.seed is not None:
        outcome: Outcome | None = world().run(arguments.seed, is_traced=arguments.trace)
    else:
        outcome = _search(arguments.seeds, arguments.jobs, run, console)
    if outcome is None:
        return 0
    console.print(report(outcome, with_trace=arguments.trace, program=program))
    return int(bool(outcome.faults))


def _search(
    seeds: range, jobs: int, run: Callable[[Sequence[int]], Found], console: Console
) -> Outcome | None:
    """The first that fails."""
    began = said_at = time.monotonic()
    found = Found()
    for found in search(seeds, jobs, run):
        if time.monotonic() - said_at > PROGRESS_SECONDS:
            said_at = time.monotonic()
            console.print(f"{found.seeds:,} of {len(seeds):,} seeds, {summary(found.counts)}")
    if found.failed is None:
        seconds = time.monotonic() - began
        console.print(
            f"{found.seeds:,} seeds in {seconds:.0f} s, all as promised: {summary(found.counts)}; "
            f"settled {found.slowest_seconds:.1f} virtual seconds after the last fault at the latest"
        )
    return found.failed


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m {program}")
    parser.add_argument("--seeds", type=_range, default=range(1000), help="FIRST-LAST, default 0-999")
    parser.add_argument("--seed", type=int, help="run this one alone")
    parser.add_argument("--trace", action="store_true", help="with --seed: show everything that happens")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes, default one per core"
    )
    return parser


def _range(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


if __name__ == "__main__":
    sys.exit(main())
