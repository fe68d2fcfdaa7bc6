"""``python -m tests.following``: readers follow their orders while the gateway is killed every 20 s.

As many pages are open, and a tenth of the readers is slow.
Each has to see each step once and in order, and memory to stay flat.
"""

import argparse
import asyncio
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack

import psutil
from aiohttp import ClientSession, ClientTimeout, TCPConnector

from shared import keyspace
from shared.redis.client import open_redis
from tests.following.readers import Findings, Follower, Watcher, idle
from tests.harness.native_cluster import native_cluster
from tests.harness.running import Pipeline

PER_ADDRESS = 200
FULL_WATCHERS = 20
KILL_SECONDS = 20.0
SAMPLE_SECONDS = 2.0
MOST_GROWTH = 1.25
ENVIRONMENT = {
    "GATEWAY_MAX_STREAMS": "1500",
    "GATEWAY_MAX_CONNECTIONS": "4096",
    "DASHBOARD_MAX_STREAMS": "1500",
}


async def measure(readers: int, seconds: float) -> list[str]:
    """What went wrong."""
    with native_cluster() as cluster:
        pipeline = Pipeline(cluster, ENVIRONMENT)
        try:
            await pipeline.make_whole()
            async with open_redis(cluster.redis_url, max_connections=1, timeout_seconds=5.0) as redis:
                await redis.set(keyspace.inventory("cable"), 10_000_000)
            return await follow(pipeline, readers, seconds)
        finally:
            pipeline.stop_all()


async def follow(pipeline: Pipeline, readers: int, seconds: float) -> list[str]:
    """All of it together; the findings."""
    found, stop = Findings(), asyncio.Event()
    memory: list[int] = []
    async with AsyncExitStack() as stack:
        sessions = [
            [await stack.enter_async_context(session_from(url, host)) for host in hosts(readers)]
            for url in (pipeline.gateway_url, pipeline.dashboard_url)
        ]
        async with asyncio.TaskGroup() as tasks:
            for number in range(readers):
                own = sessions[0][number // PER_ADDRESS]
                follower = Follower(own, f"reader{number}", found, slow=number % 10 == 0)
                tasks.create_task(follower.run(stop))
                other = sessions[1][number // PER_ADDRESS]
                if number < FULL_WATCHERS:
                    tasks.create_task(Watcher(other, found, slow=number % 10 == 0).run(stop))
                else:
                    tasks.create_task(idle(other, stop, found))
            await break_and_sample(pipeline, seconds, memory, found)
            stop.set()
    return judged(found, memory)


async def break_and_sample(pipeline: Pipeline, seconds: float, memory: list[int], found: Findings) -> None:
    """Kills the gateway again and again, and looks at the dashboard's memory, for this long."""
    ends, kills = time.monotonic() + seconds, time.monotonic() + KILL_SECONDS
    while time.monotonic() < ends:
        await asyncio.sleep(SAMPLE_SECONDS)
        pid = pipeline.services.pid("dashboard")
        memory.append(psutil.Process(pid).memory_info().rss if pid else 0)
        if time.monotonic() >= kills:
            kills += KILL_SECONDS
            pipeline.services.kill("api_gateway")
            await pipeline.start("api_gateway")
            print_line(
                f"{found.orders:,} orders followed, dashboard {memory[-1] / 1e6:.0f} MB, killed the gateway"
            )


def judged(found: Findings, memory: list[int]) -> list[str]:
    """The faults, after saying what there was."""
    third = len(memory) // 3
    growth = max(memory[-third:]) / max(memory[third : 2 * third])
    print_line(
        f"{found.orders:,} orders, {found.steps:,} steps, interruptions {dict(found.interruptions)}, "
        f"dashboard {max(memory) / 1e6:.0f} MB at most, grew {growth:.2f} times in the last third"
    )
    flat = [] if growth <= MOST_GROWTH else [f"the dashboard grew {growth:.2f} times"]
    return [*found.faults, *flat, *([] if found.orders else ["no order was followed to its end"])]


def hosts(readers: int) -> Iterator[str]:
    """An address for so many readers each, as a port bounds connections by address."""
    return (f"127.0.1.{number + 1}" for number in range(-(-readers // PER_ADDRESS)))


def session_from(url: str, host: str) -> ClientSession:
    """Connects from this address of loopback."""
    connector = TCPConnector(local_addr=(host, 0), limit=0)
    return ClientSession(url, connector=connector, timeout=ClientTimeout(total=10.0))


def print_line(text: str) -> None:
    """At once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    """Measures; ends with 1 where anything was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readers", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=300.0)
    asked = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(16_384, hard), hard))
    faults = asyncio.run(measure(asked.readers, asked.seconds))
    print_line("\n".join(faults[:20]) or "well: each reader saw each step once and in order")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
