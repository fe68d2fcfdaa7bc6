"""``python -m benchmarks``: runs everything and writes the report; see ``--help`` for parts."""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from benchmarks import against, broker_costs, contestants, following, growth, latency, shop, tracing
from benchmarks.contestants import CONTESTANTS, OURS, Rows
from benchmarks.ratios import Results
from benchmarks.report import write_report
from benchmarks.stage import Stage, stage

QUICK: Final = ("rounds", "latency", "costs", "shop")


def main() -> None:
    """Reads the options, runs the parts, writes the report."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the cluster is ended with us
    results = Results(quick=options.quick)
    began = time.monotonic()
    with stage(options.port_base) as machine:
        for part in options.parts:
            _say(f"{part} (after {time.monotonic() - began:.0f} s)")
            _RUN[part](machine, options, results)
    results.seconds = time.monotonic() - began
    print(write_report(results, options.out))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", default=[], help=f"any of {', '.join(_RUN)}; all but against without"
    )
    parser.add_argument(
        "--quick", action="store_true", help=f"under three minutes: {', '.join(QUICK)}, briefly"
    )
    parser.add_argument("--rounds", type=int, default=0, help="interleaved rounds (5, or 2 with --quick)")
    parser.add_argument("--orders", type=int, default=0, help="orders per run (4,000, or 1,200 with --quick)")
    parser.add_argument("--only", default="", help="contestants to run, separated by commas")
    parser.add_argument(
        "--against",
        default="",
        metavar="COMMIT",
        help="compares with that commit, and runs no other part unless named",
    )
    parser.add_argument("--pairs", type=int, default=10, help="interleaved pairs of runs with --against")
    parser.add_argument("--drains", type=int, default=1, help="and pairs of drains of 100,000 orders")
    parser.add_argument("--port-base", type=int, default=26_000)
    parser.add_argument("--out", type=Path, default=Path("reports/bench"))
    options = parser.parse_args()
    if unknown := set(options.parts) - set(_RUN):
        parser.error(f"there is no part {', '.join(unknown)}")
    if unknown := set(filter(None, options.only.split(","))) - set(CONTESTANTS):
        parser.error(f"there is no contestant {', '.join(unknown)}: {', '.join(CONTESTANTS)}")
    if options.against:
        options.parts = [*(part for part in options.parts if part != "against"), "against"]
    elif "against" in options.parts:
        parser.error("against what? --against COMMIT")
    options.parts = options.parts or (
        QUICK if options.quick else [part for part in _RUN if part != "against"]
    )
    options.rounds = options.rounds or (2 if options.quick else 5)
    options.orders = options.orders or (1_200 if options.quick else 4_000)
    return options


def _rounds(machine: Stage, options: argparse.Namespace, results: Results) -> None:
    chosen = [name for name in CONTESTANTS if not options.only or name in options.only.split(",")]
    for number in range(options.rounds):
        for name in chosen:
            rows = CONTESTANTS[name](machine, options.orders)
            for row, numbers in rows.items():
                results.rounds.setdefault(row, []).append(numbers)
            _say_rows(f"round {number + 1}", rows)


def _latency(machine: Stage, options: argparse.Namespace, results: Results) -> None:
    rate = results.median(OURS, "per_second")
    if not rate:
        rate = contestants.ours(machine, options.orders)[OURS]["per_second"]
    for _ in range(1 if options.quick else 4):
        results.latency.append(latency.measure(machine, rate / 2, 5.0 if options.quick else 10.0))


def _costs(machine: Stage, options: argparse.Namespace, results: Results) -> None:
    results.sizes = broker_costs.by_size(machine, 1 if options.quick else 3)
    results.consumer = broker_costs.one_more_consumer(machine, options.orders, 2 if options.quick else 6)


def _shop(machine: Stage, options: argparse.Namespace, results: Results) -> None:
    _beside(shop.rounds(machine, options.orders, options.rounds), results)


def _ledger(machine: Stage, options: argparse.Namespace, results: Results) -> None:
    _beside(following.rounds(machine, options.orders, options.rounds), results)


def _beside(rounds: Iterable[Rows], results: Results) -> None:
    for number, rows in enumerate(rounds, 1):
        for row, numbers in rows.items():
            results.rounds.setdefault(row, []).append(numbers)
        _say_rows(f"round {number}", rows)


def _traces(machine: Stage, options: argparse.Namespace, results: Results) -> None:
    _beside(tracing.rounds(machine, options.orders, options.rounds), results)


def _growth(machine: Stage, _options: argparse.Namespace, results: Results) -> None:
    results.growth = growth.measure(machine)


def _recovery(machine: Stage, _options: argparse.Namespace, results: Results) -> None:
    results.recovery = growth.leader_killed(machine)


def _against(machine: Stage, options: argparse.Namespace, results: Results) -> None:
    results.commit = options.against
    with against.checked_out(options.against) as other:
        for number, pair in enumerate(
            against.pairs_of_runs(machine, other, options.orders, options.pairs), 1
        ):
            results.pairs.append(pair)
            for whose, rows in zip(("this tree", options.against), pair, strict=True):
                _say_rows(f"pair {number}: {whose}", rows)
        for drains in against.pairs_of_drains(machine, other, options.drains):
            results.drains.append(drains)
            _say("  drained: {:,.0f}/s, that commit {:,.0f}/s".format(*drains))


def _say(line: str) -> None:
    print(line, flush=True)


def _say_rows(prefix: str, rows: Rows) -> None:
    for row, numbers in rows.items():
        rate, cpu = numbers["per_second"], numbers["python_cpu_us"]
        _say(f"  {prefix}: {row}: {rate:,.0f}/s, {cpu:,.0f} µs Python CPU per order")


_RUN: Final[dict[str, Callable[[Stage, argparse.Namespace, Results], None]]] = {
    "rounds": _rounds,
    "latency": _latency,
    "costs": _costs,
    "shop": _shop,
    "ledger": _ledger,
    "traces": _traces,
    "growth": _growth,
    "recovery": _recovery,
    "against": _against,
}

if __name__ == "__main__":
    main()
