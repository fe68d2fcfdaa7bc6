"""``python -m benchmarks``: runs everything and writes the report; see ``--help`` for parts."""

import argparse
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks import contestants, growth
from benchmarks.report import Results, write_report
from benchmarks.stage import Stage, stage

PARTS: Final = ("rounds", "latency", "growth", "recovery")
CONTESTANTS: Final[dict[str, Callable[[Stage, int], contestants.Numbers]]] = {
    "bare two-hop AMQP": contestants.two_hops,
    "bare two-hop AMQP, publishing as we do": contestants.two_hops_as_we_do,
    "ours": contestants.ours,
    "ours, batches of one": contestants.ours_one_by_one,
    "FastStream": contestants.peer,
    "bare Redis": contestants.bare_redis,
    "bare aiohttp": contestants.bare_http,
}


def main() -> None:
    """Reads the options, runs the parts, writes the report."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the cluster is ended with us
    results = Results(quick=options.quick)
    began = time.monotonic()
    with stage(options.port_base) as machine:
        for part in options.parts:
            _say(part, began)
            _RUN[part](machine, options, results)
    results.seconds = time.monotonic() - began
    print(write_report(results, options.out))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", default=[], help=f"any of {', '.join(PARTS)}; all without")
    parser.add_argument(
        "--quick", action="store_true", help="under three minutes: rounds and latency, briefly"
    )
    parser.add_argument("--rounds", type=int, default=0, help="interleaved rounds (5, or 2 with --quick)")
    parser.add_argument("--orders", type=int, default=0, help="orders per run (3,000, or 1,500 with --quick)")
    parser.add_argument("--only", default="", help="contestants to run, separated by commas")
    parser.add_argument("--port-base", type=int, default=26_000)
    parser.add_argument("--out", type=Path, default=Path("reports/bench"))
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(unknown)}")
    options.parts = options.parts or (["rounds", "latency"] if options.quick else list(PARTS))
    options.rounds = options.rounds or (2 if options.quick else 5)
    options.orders = options.orders or (1_500 if options.quick else 3_000)
    return options


def _rounds(machine: Stage, options: argparse.Namespace, results: Results) -> None:
    chosen = [name for name in CONTESTANTS if not options.only or name in options.only.split(",")]
    for number in range(options.rounds):
        for name in chosen:
            numbers = CONTESTANTS[name](machine, options.orders)
            results.rounds.setdefault(name, []).append(numbers)
            rate, cpu = numbers["per_second"], numbers["python_cpu_us"]
            print(
                f"  round {number + 1}: {name}: {rate:,.0f}/s, {cpu:,.0f} µs Python CPU per order", flush=True
            )


def _latency(machine: Stage, options: argparse.Namespace, results: Results) -> None:
    rate = results.median("ours", "per_second")
    if not rate:
        rate = contestants.ours(machine, options.orders)["per_second"]
    for _ in range(1 if options.quick else 3):
        results.latency.append(contestants.half_load(machine, rate / 2, 5.0 if options.quick else 15.0))


def _growth(machine: Stage, options: argparse.Namespace, results: Results) -> None:
    results.growth = growth.measure(machine, quick=options.quick)


def _recovery(machine: Stage, options: argparse.Namespace, results: Results) -> None:
    results.recovery = growth.leader_killed(machine)


def _say(part: str, began: float) -> None:
    print(f"{part} (after {time.monotonic() - began:.0f} s)", flush=True)


_RUN: Final[dict[str, Callable[[Stage, argparse.Namespace, Any], None]]] = {
    "rounds": _rounds,
    "latency": _latency,
    "growth": _growth,
    "recovery": _recovery,
}

if __name__ == "__main__":
    main()
