"""``python -m tests.chaos --seed 7 --faults 40``: faults under load, and the verdict.

The same seed draws the same schedule; moments differ, as processes do. With ``--orders`` it goes on until so
many have been placed, in stages of which each is judged by itself, and customers are told in the
notifier's log: ``--orders 1000000 --faults 300`` takes about an hour, and ``--resume reports/chaos-7.json``
goes on after the last stage that is done.
"""

import argparse
import asyncio
import random
import signal
import sys
from pathlib import Path

from tests.chaos.run import run
from tests.chaos.stages import Plan, Record

RATE = 40.0
LONG_RUN_RATE = 400.0
"""Two cores do more, but not while a broker that was away is brought up to date."""


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--faults", type=int, default=60, help="how many faults, one after the other")
    parser.add_argument("--orders", type=int, default=0, help="at least so many orders, in stages")
    parser.add_argument("--rate", type=float, help="orders per second (40; 400 with --orders)")
    parser.add_argument("--out", type=Path, default=Path("reports"))
    parser.add_argument("--resume", type=Path, help="the JSON of a run that did not come to its end")
    options = parser.parse_args()
    if options.resume:
        record, folder = Record.read(options.resume), options.resume.parent
    else:
        rate = options.rate or (LONG_RUN_RATE if options.orders else RATE)
        channel = "log" if options.orders else "smtp"
        plan = Plan(
            seed=options.seed, faults=options.faults, rate=rate, orders=options.orders, channel=channel
        )
        record, folder = Record(plan=plan), options.out
    for each in (signal.SIGINT, signal.SIGTERM):  # whichever ends it, its cluster ends with it
        signal.signal(each, signal.default_int_handler)
    page = record.write(folder)
    for stage in record.left:
        what = f"{len(stage.faults)} faults at {stage.rate:g} orders/s"
        sys.stdout.write(f"stage {stage.seed} of {len(record.plan.stages)}: {what}\n")
        record.done.append(asyncio.run(run(stage)))
        page = record.write(folder)
    sys.stdout.write(f"\n{record.markdown()}\nwritten to {page}\n")
    return 0 if record.passed else 1


if __name__ == "__main__":
    sys.exit(main())
