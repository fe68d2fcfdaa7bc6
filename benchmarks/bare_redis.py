"""The store's ceiling: the pipeline's four scripts per order, a hundred orders in one round trip."""

import argparse
import asyncio
import secrets
import time
from datetime import UTC, datetime

import orjson
import uvloop

from shared import keyspace
from shared.messages import Event, Order, OrderItem, OrderPlaced, Trace
from shared.orders.placement import Placement
from shared.orders.redis.decisions import decision_call
from shared.orders.redis.scripts import load
from shared.orders.redis.store import acceptance_call
from shared.redis.client import Redis, open_redis
from shared.redis.scripts import Script, ScriptCall

BATCH = 100
DAY_SECONDS = 86_400


class Scripts:
    """The calls of each step, for a batch of orders."""

    def __init__(self) -> None:
        self._accept = load("accept")
        self._decide = load("decide")
        self._claim = Script.load("notifier", "claim")
        self._conclude = Script.load("notifier", "conclude")

    async def run(self, redis: Redis, orders: list[Order]) -> None:
        """Accepts, decides, claims and marks; the outbox is emptied as the gateway does it."""
        await self._accept.run_many(
            redis, [acceptance_call(_placement(o), DAY_SECONDS, 100_000) for o in orders]
        )
        await redis.zrem(keyspace.OUTBOX, *(order.id for order in orders))
        await self._decide.run_many(redis, [decision_call(_placed(order)) for order in orders])
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


def _placement(order: Order) -> Placement:
    trace = Trace(correlation_id="0" * 32, traceparent=f"00-{'1' * 32}-{'2' * 16}-01")
    return Placement(
        order=order, client_named_id=True, idempotency_key=None, media_type="application/json", trace=trace
    )


def _placed(order: Order) -> Event[OrderPlaced]:
    now = datetime.now(UTC)
    return Event(source="", time=now, data=OrderPlaced(order=order), trace=Trace(correlation_id="0"))


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
