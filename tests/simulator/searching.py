"""Looking for a seed that fails, over all cores, and saying what is known about it."""

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cache
from typing import Final, Protocol

from tests.simulator.simulation import Outcome, Simulator

SEEDS_AT_A_TIME: Final = 25
PROGRAM: Final = "tests.simulator"


class SeededWorld(Protocol):
    """What plays a seed."""

    def run(self, seed: int, *, is_traced: bool = False) -> Outcome:
        """The outcome, the same each time."""


@dataclass(slots=True, kw_only=True)
class Found:
    """What some seeds came to: how many, what was in them, the first that failed, the longest calm needed."""

    seeds: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    failed: Outcome | None = None
    slowest_seconds: float = 0.0
    """Virtual seconds from the last fault until all was settled."""

    def take(self, outcome: Outcome) -> None:
        """Takes in one more seed."""
        self.seeds += 1
        self.counts += outcome.counts
        self.slowest_seconds = max(self.slowest_seconds, outcome.settled_at - outcome.calm_at)
        if outcome.faults and (self.failed is None or outcome.plan.seed < self.failed.plan.seed):
            self.failed = outcome

    def add(self, other: "Found") -> None:
        """Takes in what others have found."""
        self.seeds += other.seeds
        self.counts += other.counts
        self.slowest_seconds = max(self.slowest_seconds, other.slowest_seconds)
        mine, theirs = self.failed, other.failed
        if theirs is not None and (mine is None or theirs.plan.seed < mine.plan.seed):
            self.failed = theirs


@cache
def simulator() -> Simulator:
    """The one simulator of this process."""
    return Simulator()


def run_all(seeds: Sequence[int]) -> Found:
    """Runs seeds here, one after the other, up to the first that fails."""
    return run_each(simulator(), seeds)


def run_each(world: SeededWorld, seeds: Sequence[int]) -> Found:
    """The same in any world."""
    found = Found()
    for seed in seeds:
        found.take(world.run(seed))
        if found.failed is not None:
            break
    return found


def search(seeds: range, jobs: int, run: Callable[[Sequence[int]], Found] = run_all) -> Iterator[Found]:
    """Runs seeds in ``jobs`` processes; yields all that is known so far, again and again, until one fails."""
    found = Found()
    parts = iter([seeds[at : at + SEEDS_AT_A_TIME] for at in range(0, len(seeds), SEEDS_AT_A_TIME)])
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=jobs, mp_context=context) as pool:
        running: set[Future[Found]] = set()
        while True:
            while found.failed is None and len(running) < jobs and (part := next(parts, None)):
                running.add(pool.submit(run, part))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for each in done:
                found.add(each.result())
            yield found


def report(outcome: Outcome, *, with_trace: bool, program: str = PROGRAM) -> str:
    """Everything about one seed for somebody who wants to find its fault, or its absence."""
    lines = [str(outcome.plan), ""]
    lines += outcome.trace if with_trace else outcome.schedule
    lines += ["", *(f"WRONG: {fault}" for fault in outcome.faults)]
    lines += [
        f"{outcome.plan.seed}: {'wrong' if outcome.faults else 'as promised'}, {summary(outcome.counts)}"
    ]
    if outcome.faults:
        lines += [f"replay: python -m {program} --seed {outcome.plan.seed} --trace"]
    return "\n".join(lines)


def summary(counts: Counter[str]) -> str:
    """What there was, in one line."""
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items())
