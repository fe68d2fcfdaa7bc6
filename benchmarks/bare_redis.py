"""The store's ceiling: the pipeline's four scripts per order, a hundred orders in one round trip."""

import argparse
import asyncio
import secrets
import time

import orjson
import uvloop

from shared import keyspace
from shared.messages import Order, OrderItem, content_fingerprint, encode_order
from shared.orders.model import OrderStatus
from shared.redis.client import Redis, open_redis
from shared.redis.scripts import Script, ScriptCall

BATCH = 100
DAY_SECONDS = 86_400
UNDECIDED = (OrderStatus.ACCEPTED, OrderStatus.RETRYING, OrderStatus.DEAD)


class Scripts:
    """The calls of each step, for a batch of orders."""

    def __init__(self) -> None:
        self._accept = Script.load("shared.orders.redis", "accept")
        self._reserve = Script.load("shared.orders.redis", "reserve")
        self._claim = Script.load("notifier", "claim")
        self._conclude = Script.load("notifier", "conclude")

    async def run(self, redis: Redis, orders: list[Order]) -> None:
        """Accepts, decides, claims and marks; the outbox is emptied as the gateway does it."""
        await self._accept.run_many(redis, [_accept(order) for order in orders])
        await redis.zrem(keyspace.OUTBOX, *(order.id for order in orders))
        await self._reserve.run_many(redis, [_reserve(order) for order in orders])
        owner = secrets.token_hex(8)
        claims = [ScriptCall(_notified(o), [owner, 15_000, _event(o), "log", DAY_SECONDS]) for o in orders]
        await self._claim.run_many(redis, claims)
        marks = [ScriptCall(_notified(o), [owner, _event(o), "sent", "", DAY_SECONDS]) for o in orders]
        await self._conclude.run_many(redis, marks)


def _event(order: Order) -> str:
    return f"{order.id}:order.created.v1"


def _notified(order: Order) -> list[str]:
    return [
        keyspace.notification_claim(_event(order)),
        keyspace.notifications(order.id),
        keyspace.NOTIFICATION_COUNTS,
    ]


def _accept(order: Order) -> ScriptCall:
    fingerprint = content_fingerprint(order)
    keys = [
        keyspace.claim(order.id),
        keyspace.order(order.id),
        keyspace.orders_by_status(OrderStatus.ACCEPTED),
        keyspace.OUTBOX,
    ]
    trace = ["0" * 32, f"00-{'1' * 32}-{'2' * 16}-01"]
    text = encode_order(order)
    return ScriptCall(
        keys,
        [
            "1" * 24,
            DAY_SECONDS,
            100_000,
            order.id,
            text,
            fingerprint,
            *trace,
            f"{order.id}:{fingerprint}",
            "",
            "",
        ],
    )


def _reserve(order: Order) -> ScriptCall:
    keys = [
        keyspace.order(order.id),
        keyspace.PROCESSED_COUNT,
        keyspace.RESERVED,
        keyspace.SKUS,
        keyspace.orders_by_status(OrderStatus.CREATED),
        keyspace.orders_by_status(OrderStatus.REJECTED),
        *(keyspace.orders_by_status(status) for status in UNDECIDED),
        *(keyspace.inventory(item.sku) for item in order.items),
    ]
    now = round(time.time() * 1_000_000)
    arguments: list[str | int] = [
        order.id,
        now,
        10**12,
        encode_order(order),
        content_fingerprint(order),
        "0",
        "",
    ]
    for item in order.items:
        arguments += [item.sku, item.qty]
    return ScriptCall(keys, arguments)


async def run(options: argparse.Namespace) -> dict[str, object]:
    """Throughput of the store alone."""
    scripts, prefix = Scripts(), secrets.token_hex(4)
    async with open_redis(options.url, timeout_seconds=10.0, max_connections=4) as redis:
        cpu_before, began = time.process_time(), time.perf_counter()
        for first in range(0, options.orders, BATCH):
            numbers = range(first, min(first + BATCH, options.orders))
            items = (OrderItem(sku="bench-0", qty=1),)
            await scripts.run(redis, [Order(id=f"r{prefix}-{n}", items=items) for n in numbers])
        seconds = time.perf_counter() - began
    cpu = time.process_time() - cpu_before
    return {"per_second": options.orders / seconds, "cpu_us_per_order": 1e6 * cpu / options.orders}


def main() -> None:
    """Reads the options, runs, prints one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--orders", type=int, required=True)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(orjson.dumps(runner.run(run(options))).decode())


if __name__ == "__main__":
    main()
