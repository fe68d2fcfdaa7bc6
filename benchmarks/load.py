"""The load generator, a process of its own: places orders, waits until all are notified, prints what it saw.

Closed loop (``--concurrency``) measures throughput; open loop (``--rate``) measures latency from the moment
at which a request was due, so that a stall counts against every request that it delays.
"""

import argparse
import asyncio
import time
from dataclasses import dataclass, field

import orjson
import redis.asyncio as redis_asyncio
import uvloop

from benchmarks.clients import KeptConnection, connect, order_request
from orderctl.load import percentile
from shared import keyspace

POLL_SECONDS = 0.05
GIVE_UP_SECONDS = 180.0
RETRY_PAUSE_SECONDS = 0.02
SKUS = 100


@dataclass(slots=True)
class Seen:
    """What the clients saw; moments in seconds since the epoch, latencies in seconds."""

    due_at: dict[str, float] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    refused: int = 0
    longest_gap: float = 0.0
    last_accepted_at: float = 0.0

    def accepted(self, order_id: str, due_at: float) -> None:
        """The order was answered 202."""
        now = time.time()
        self.due_at[order_id] = due_at
        self.latencies.append(now - due_at)
        self.longest_gap = max(self.longest_gap, now - (self.last_accepted_at or now))
        self.last_accepted_at = now


def request(options: argparse.Namespace, order_id: str) -> bytes:
    """One order."""
    skus = [f"{options.sku}-{number}" for number in range(min(options.items, SKUS))]
    return order_request(order_id, skus, options.token)


async def closed_loop(options: argparse.Namespace, seen: Seen) -> None:
    """``concurrency`` clients, each with one request on its way."""
    numbers = iter(range(options.orders))

    async def client() -> None:
        connection = await connect(options.url)
        for number in numbers:
            order_id = f"{options.prefix}{number}"
            due_at = time.time()
            if await connection.send(request(options, order_id)) == 202:
                seen.accepted(order_id, due_at)
            else:
                seen.refused += 1
                await asyncio.sleep(RETRY_PAUSE_SECONDS)
        connection.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(options.concurrency):
            group.create_task(client())


async def open_loop(options: argparse.Namespace, seen: Seen) -> None:
    """``rate`` orders per second, whether answers come or not."""
    idle: list[KeptConnection] = []

    async def place(number: int, due_at: float) -> None:
        order_id = f"{options.prefix}{number}"
        connection = idle.pop() if idle else await connect(options.url)
        if await connection.send(request(options, order_id)) == 202:
            seen.accepted(order_id, due_at)
        else:
            seen.refused += 1
        idle.append(connection)

    began = time.time()
    async with asyncio.TaskGroup() as group:
        for number in range(options.orders):
            due_at = began + number / options.rate
            if (pause := due_at - time.time()) > 0:
                await asyncio.sleep(pause)
            group.create_task(place(number, due_at))
    for connection in idle:
        connection.close()


async def notified_at(options: argparse.Namespace, seen: Seen) -> list[tuple[str, float]]:
    """When each accepted order's notification was marked as sent; waits until that is so for all."""
    async with redis_asyncio.Redis.from_url(options.redis, decode_responses=True) as store:
        missing, found, sent = list(seen.due_at), [], 0
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while missing and time.monotonic() < deadline:
            sent = int(await store.hget(keyspace.NOTIFICATION_COUNTS, "sent") or 0) - options.sent_before
            if sent < len(seen.due_at):
                await asyncio.sleep(POLL_SECONDS)
                continue
            pipeline = store.pipeline(transaction=False)
            for order_id in missing:
                pipeline.hget(keyspace.notifications(order_id), "sent_at")
            answers = dict(zip(missing, await pipeline.execute(), strict=True))
            found += [(order_id, int(at) / 1e6) for order_id, at in answers.items() if at]
            missing = [order_id for order_id, at in answers.items() if not at]
        if missing:
            raise TimeoutError(f"of {len(seen.due_at)} accepted orders, {sent} were notified in time")
    return found


def spread(latencies: list[float]) -> dict[str, float]:
    """Percentiles, in milliseconds."""
    ordered = sorted(latencies)
    return {
        name: 1000 * percentile(ordered, share)
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }


async def run(options: argparse.Namespace) -> dict[str, object]:
    """One load, from the first request to the last notification."""
    seen = Seen()
    began, cpu_before = time.time(), time.process_time()
    await (open_loop(options, seen) if options.rate else closed_loop(options, seen))
    accepted_seconds = time.time() - began
    cpu_seconds = time.process_time() - cpu_before
    result: dict[str, object] = {
        "orders": len(seen.due_at),
        "refused": seen.refused,
        "accepted_per_second": len(seen.due_at) / accepted_seconds,
        "accept_ms": spread(seen.latencies),
        "longest_gap_seconds": seen.longest_gap,
        "load_cpu_us_per_order": 1e6 * cpu_seconds / max(1, len(seen.due_at)),
    }
    if options.redis:
        ends = await notified_at(options, seen)
        result["end_to_end_per_second"] = len(ends) / (max(at for _, at in ends) - began)
        result["notified_ms"] = spread([at - seen.due_at[order_id] for order_id, at in ends])
    return result


def main() -> None:
    """Reads the options, runs, prints one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--redis", default="")
    parser.add_argument("--orders", type=int, required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--items", type=int, default=1)
    parser.add_argument("--sent-before", type=int, default=0)
    parser.add_argument("--sku", default="bench")
    parser.add_argument("--token", default="")
    options = parser.parse_args()
    print(orjson.dumps(uvloop.run(run(options))).decode())


if __name__ == "__main__":
    main()
