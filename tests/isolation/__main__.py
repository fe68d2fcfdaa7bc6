"""``python -m tests.isolation``: every attack for a minute, and what another client suffered from each."""

import argparse
import asyncio
import resource
import sys

from tests.isolation.attacks import ATTACKS, fill, place_long_orders
from tests.isolation.trial import trial


async def measure(names: list[str], seconds: float) -> bool:
    """Runs the attacks one after the other; whether none of them did what one client must not do."""
    well = True
    for name in names:
        async with trial() as running:
            await fill(running.redis)
            await place_long_orders(running.port)
            await running.settle()
            suffered = await running.suffer(name, seconds)
        faults = suffered.faults()
        well &= not faults
        sys.stdout.write(f"{name}: {suffered}: {'; '.join(faults) or 'well'}\n")
        sys.stdout.flush()
    return well


def main() -> None:
    """One attack that does not end, or all of them measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attack", choices=ATTACKS, help="only attack, until ended")
    parser.add_argument("--port", type=int, help="of the gateway to attack, on loopback")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("names", nargs="*", choices=[*ATTACKS, []], help="which ones; all of them by default")
    asked = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8_192, hard), hard))
    if asked.attack:
        asyncio.run(ATTACKS[asked.attack](asked.port))
    elif not asyncio.run(measure(asked.names or list(ATTACKS), asked.seconds)):
        sys.exit(1)


if __name__ == "__main__":
    main()
