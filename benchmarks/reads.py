"""Products read over HTTP, as a process of its own: each client has one request on its way."""

import argparse
import asyncio
import time

import orjson
import uvloop

from benchmarks.clients import READ_HEAD, connect


async def run(options: argparse.Namespace) -> dict[str, float]:
    """Reads each of ``skus`` in turn, ``reads`` times in all."""
    requests = [READ_HEAD % f"{options.sku}-{number}".encode() for number in range(options.skus)]
    numbers = iter(range(options.reads))
    refused = 0

    async def client() -> None:
        nonlocal refused
        connection = await connect(options.url)
        for number in numbers:
            refused += await connection.send(requests[number % len(requests)]) != 200
        connection.close()

    began, cpu_before = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(options.concurrency):
            group.create_task(client())
    return {
        "refused": refused,
        "per_second": options.reads / (time.perf_counter() - began),
        "load_cpu_us": 1e6 * (time.process_time() - cpu_before) / options.reads,
    }


def main() -> None:
    """Reads the options, runs, prints one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--reads", type=int, required=True)
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("--sku", required=True)
    parser.add_argument("--skus", type=int, required=True)
    print(orjson.dumps(uvloop.run(run(parser.parse_args()))).decode())


if __name__ == "__main__":
    main()
