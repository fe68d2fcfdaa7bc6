"""Ratios of what was measured in one run, with their ranges, intervals and targets."""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.contestants import BARE, FASTSTREAM, MANY_CLIENTS, OURS, OURS_ALONE, OURS_MANY, OURS_OFF
from benchmarks.following import CAUGHT_UP, FOLLOWED, LAG, STEPS_PER_ORDER, UNFOLLOWED
from benchmarks.growth import FEW_WAITING, MANY_WAITING, PAST_ORDERS
from benchmarks.latency import STEADY_RATE
from benchmarks.shop import BARE_READS, CATALOGUE_READS, GATEWAY_READS, PLAIN, SIGNED
from benchmarks.tracing import TRACED, UNTRACED

T_95: Final = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13)
"""Student's t for 95 %, two-sided, by degrees of freedom from 1 on."""
T_95_OF_MANY: Final = 2.12
"""For more than those, rounded up."""


@dataclass(slots=True)
class Results:
    """Everything that was measured in one run."""

    quick: bool
    seconds: float = 0.0
    rounds: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    latency: list[dict[str, Any]] = field(default_factory=list)
    sizes: dict[str, list[float]] = field(default_factory=dict)
    consumer: list[dict[str, float]] = field(default_factory=list)
    growth: dict[str, Any] = field(default_factory=dict)
    recovery: dict[str, Any] = field(default_factory=dict)
    commit: str = ""
    pairs: list[Any] = field(default_factory=list)
    drains: list[Any] = field(default_factory=list)

    def values(self, name: str, what: str) -> list[float]:
        """One number of one contestant, by round."""
        return [numbers[what] for numbers in self.rounds.get(name, []) if what in numbers]

    def by_round(self, mine: str, other: str, what: str) -> list[float]:
        """One number of one contestant through that of another, within each round."""
        pairs = zip(self.values(mine, what), self.values(other, what), strict=False)
        return [ours / theirs for ours, theirs in pairs]

    def median(self, name: str, what: str) -> float:
        """0.0 where there is none."""
        values = self.values(name, what)
        return statistics.median(values) if values else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """One line of the table: a ratio's values, pair by pair as they were measured, and what it should be."""

    what: str
    values: Sequence[float]
    at_least: float | None = None
    at_most: float | None = None
    goal: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def target(self) -> float | None:
        return self.at_most if self.at_least is None else self.at_least

    @property
    def is_met(self) -> bool:
        """True where there is no target."""
        if self.at_least is not None:
            return self.median >= self.at_least
        return self.at_most is None or self.median <= self.at_most

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where the ratio lies by 95 %: Student's, of the logarithms. None for fewer than three pairs."""
        freedom = len(self.values) - 1
        if freedom < 2:
            return None
        logarithms = [math.log(value) for value in self.values]
        t = T_95[freedom - 1] if freedom <= len(T_95) else T_95_OF_MANY
        half = t * statistics.stdev(logarithms) / math.sqrt(len(logarithms))
        middle = statistics.fmean(logarithms)
        return math.exp(middle - half), math.exp(middle + half)


def ratios(results: Results) -> list[Ratio]:
    """Every ratio that is worth a line; those that this run did not measure have no values."""
    return [
        *_of_pairs(results),
        *_of_rounds(results),
        *_of_shop(results),
        *_of_ledger(results),
        *_of_traces(results),
        *_of_latency(results),
        *_of_drains(results),
        *_of_consumer(results),
        *_of_growth(results),
    ]


def _of_pairs(results: Results) -> Iterator[Ratio]:
    before = results.commit or "the commit before"

    def by_pair(row: str, what: str) -> list[float]:
        return [mine[row][what] / theirs[row][what] for mine, theirs in results.pairs]

    rate = f"end-to-end orders/s ÷ {before}"
    yield Ratio(what=rate, values=by_pair(OURS, "per_second"), at_least=2.0, goal=3.0)
    many = by_pair(OURS_MANY, "per_second")
    yield Ratio(what=f"the same, {MANY_CLIENTS} clients", values=many, at_least=2.5)
    yield Ratio(what="the same, 1 client in flight", values=by_pair(OURS_ALONE, "per_second"), at_least=1.0)
    for name, what in (("Python", "python_cpu_us"), ("all", "all_cpu_us")):
        yield Ratio(what=f"{name} CPU per order ÷ {before}", values=by_pair(OURS, what))


def _of_rounds(results: Results) -> Iterator[Ratio]:
    def by_round(other: str, what: str, mine: str = OURS) -> list[float]:
        return results.by_round(mine, other, what)

    rate, cpu = "per_second", "python_cpu_us"
    yield Ratio(what=f"end-to-end orders/s ÷ {BARE}", values=by_round(BARE, rate), at_least=1.2, goal=2.0)
    yield Ratio(what="the same, batches off", values=by_round(BARE, rate, OURS_OFF))
    peer = by_round(FASTSTREAM, rate)
    yield Ratio(what="end-to-end orders/s ÷ FastStream", values=peer, at_least=5.0, goal=8.0)
    yield Ratio(what="end-to-end orders/s ÷ ours with batches off", values=by_round(OURS_OFF, rate))
    yield Ratio(what=f"{MANY_CLIENTS} clients ÷ 64", values=by_round(OURS, rate, OURS_MANY))
    yield Ratio(what=f"Python CPU per order ÷ {BARE}", values=by_round(BARE, cpu), at_most=1.3, goal=0.8)
    yield Ratio(what=f"all CPU per order ÷ {BARE}", values=by_round(BARE, "all_cpu_us"))
    tail = [
        told / accepted
        for told, accepted in zip(
            results.values(OURS, "notified_p99_ms"), results.values(OURS, "accept_p99_ms"), strict=True
        )
    ]
    yield Ratio(what="POST→notified p99 ÷ POST→202 p99, saturated", values=tail, at_most=2.0)


def _of_shop(results: Results) -> Iterator[Ratio]:
    rate = "per_second"
    for name in (GATEWAY_READS, CATALOGUE_READS):
        reads = results.by_round(name, BARE_READS, rate)
        yield Ratio(what=f"{name}/s ÷ {BARE_READS}", values=reads, at_least=0.5)
    signed = results.by_round(SIGNED, PLAIN, rate)
    yield Ratio(what=f"{SIGNED}/s ÷ {PLAIN}", values=signed, at_least=0.9)


def _of_ledger(results: Results) -> Iterator[Ratio]:
    rates = results.by_round(FOLLOWED, UNFOLLOWED, "per_second")
    yield Ratio(what=f"{FOLLOWED} ÷ {UNFOLLOWED}, orders/s end to end", values=rates, at_least=0.85)
    slowest = results.by_round(FOLLOWED, UNFOLLOWED, "accept_p99_ms")
    yield Ratio(what="the same, POST→202 p99", values=slowest, at_most=1.15)
    steps = [
        steps / (STEPS_PER_ORDER * orders)
        for steps, orders in zip(
            results.values(CAUGHT_UP, "per_second"), results.values(UNFOLLOWED, "per_second"), strict=True
        )
    ]
    yield Ratio(what=f"{CAUGHT_UP}/s ÷ steps/s of {UNFOLLOWED}", values=steps, at_least=2.0)
    lags = results.values(FOLLOWED, LAG)
    yield Ratio(what="seconds that it is behind at the end of a run", values=lags, at_most=2.0)


def _of_traces(results: Results) -> Iterator[Ratio]:
    for name, what in (("all", "all_cpu_us"), ("Python", "python_cpu_us")):
        costs = results.by_round(TRACED, UNTRACED, what)
        at_most = 1.05 if name == "all" else None
        yield Ratio(what=f"{name} CPU per order, {TRACED} ÷ {UNTRACED}", values=costs, at_most=at_most)


def _of_latency(results: Results) -> Iterator[Ratio]:
    steady = [run["steady"]["accept_p99_ms"] / run["steady"]["confirm_p99_ms"] for run in results.latency]
    what = f"POST→202 p99 ÷ confirm p99, both at {STEADY_RATE:g}/s"
    yield Ratio(what=what, values=steady, at_most=2.5, goal=1.5)


def _of_drains(results: Results) -> Iterator[Ratio]:
    drains = [mine / theirs for mine, theirs in results.drains]
    what = f"drain of {MANY_WAITING:,} ÷ {results.commit or 'the commit before'}"
    yield Ratio(what=what, values=drains, at_least=3.0)
    backlog = results.growth.get("backlog", {})
    rates = [backlog[str(size)]["per_second"] for size in (MANY_WAITING, FEW_WAITING) if backlog]
    what = f"drain of {MANY_WAITING:,} ÷ drain of {FEW_WAITING:,}"
    yield Ratio(what=what, values=[rates[0] / rates[1]] if rates else [], at_least=0.9)


def _of_consumer(results: Results) -> Iterator[Ratio]:
    costs = [pair["with"] / pair["without"] for pair in results.consumer]
    yield Ratio(what="brokers' CPU per order, one more consumer ÷ none", values=costs, at_most=1.2)


def _of_growth(results: Results) -> Iterator[Ratio]:
    growth = results.growth
    if not growth:
        return
    large, small = (growth["backlog"][str(size)] for size in (MANY_WAITING, FEW_WAITING))
    memory = max(large[name] / small[name] for name in small if name.startswith("rss"))
    what = f"RSS after {MANY_WAITING:,} ÷ after {FEW_WAITING:,} orders"
    yield Ratio(what=what, values=[memory], at_most=1.2)
    past = growth["past_orders"]
    rate = past[str(PAST_ORDERS)]["per_second"] / past["few"]["per_second"]
    yield Ratio(what=f"rate with {PAST_ORDERS:,} past orders ÷ with few", values=[rate], at_least=0.9)
