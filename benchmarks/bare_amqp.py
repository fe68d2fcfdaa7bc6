"""The ceiling: what two hops through the same queues cost a client that does nothing else.

Publish with confirm → consume, publish with confirm, ack → consume, ack: one order a message. Bodies,
properties, prefetch, the number in flight and the way of publishing are the pipeline's own. One process.
"""

import argparse
import asyncio
import time

import orjson
import uvloop
from aio_pika import connect as amqp_connect
from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel

from benchmarks.use import cpu_seconds, pids_of
from orderctl.load import percentile
from shared.messages import (
    Event,
    EventData,
    Order,
    OrderCreated,
    OrderItem,
    OrderPlaced,
    Trace,
    encode,
    event_time,
    type_name,
)
from shared.messaging.ports import OutgoingMessage
from shared.messaging.rabbitmq.connection import open_channel
from shared.messaging.rabbitmq.publishing import ConfirmedPublishing
from shared.messaging.rabbitmq.topology import declare_topology
from shared.pipeline import NOTIFIER, ORDER_PROCESSOR, QUORUM_SIZE, ROUTES

PREFETCH = 200
SECONDS = 30.0
WARM_UP_ORDERS = 300
SOME_TIME = event_time(1_700_000_000_123_456)
CORRELATION_ID = "0" * 32
HEADERS = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}


def message_of(data: type[OrderPlaced] | type[OrderCreated]) -> OutgoingMessage:
    """An event of the size that the pipeline's own have."""
    order = Order(id="bench-0-123456", items=(OrderItem(sku="bench-0", qty=1),))
    trace = Trace(correlation_id=CORRELATION_ID, traceparent=HEADERS["traceparent"])
    event: Event[EventData] = Event(
        source="/api_gateway", time=SOME_TIME, data=data(order=order), trace=trace
    )
    route = ROUTES[type_name(data)]
    return OutgoingMessage(
        exchange=route.exchange,
        routing_key=route.routing_key,
        body=encode(event),
        correlation_id=CORRELATION_ID,
        headers=HEADERS,
    )


class TwoHops:
    """Publisher, middle and end of a pipeline without any work in it."""

    def __init__(self, publishing: Channel, consuming: Channel) -> None:
        self._publishing = ConfirmedPublishing(publishing, timeout_seconds=SECONDS)
        self._consuming = consuming
        self._placed, self._created = message_of(OrderPlaced), message_of(OrderCreated)
        self._ended = 0
        self._wanted = 0
        self._all = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, orders: int, in_flight: int) -> None:
        """``orders`` through both hops, ``in_flight`` unconfirmed at the first."""
        self.expect(orders)
        numbers = iter(range(orders))

        async def publisher() -> None:
            for _ in numbers:
                await self.publish_placed()

        await asyncio.gather(*(publisher() for _ in range(in_flight)))
        await self.ended()

    def expect(self, orders: int) -> None:
        """So many are about to be published."""
        self._wanted = self._ended + orders
        self._all.clear()

    async def ended(self) -> None:
        """Returns once all that were expected have been acked at the end: queues are left empty."""
        await self._all.wait()

    async def publish_placed(self) -> None:
        """One confirmed publish of the first hop."""
        await self._publishing.publish(self._placed)

    async def on_placed(self, message: DeliveredMessage) -> None:
        """The middle."""
        task = asyncio.ensure_future(self._hand_on(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _hand_on(self, message: DeliveredMessage) -> None:
        await self._publishing.publish(self._created)
        await self._consuming.basic_ack(message.delivery_tag or 0, wait=False)

    async def on_created(self, message: DeliveredMessage) -> None:
        """The end."""
        await self._consuming.basic_ack(message.delivery_tag or 0, wait=False)
        self._ended += 1
        if self._ended >= self._wanted:
            self._all.set()


async def declare_quorum_queue(channel: Channel, name: str) -> None:
    """A queue of the bare clients' own, as safe as the pipeline's."""
    await channel.queue_declare(
        name,
        durable=True,
        arguments={"x-queue-type": "quorum", "x-quorum-initial-group-size": QUORUM_SIZE},
        timeout=SECONDS,
    )


async def run(options: argparse.Namespace) -> dict[str, object]:
    """Throughput, or at ``--rate`` the latency of one confirmed publish."""
    publishing_connection, consuming_connection = [await amqp_connect(options.url) for _ in range(2)]
    publishing = await open_channel(publishing_connection, publishes=True)
    consuming = await open_channel(consuming_connection, publishes=False)
    await declare_topology(publishing, SECONDS)
    hops = TwoHops(publishing, consuming)
    await consuming.basic_qos(prefetch_count=PREFETCH)
    await consuming.basic_consume(ORDER_PROCESSOR.queue, hops.on_placed)
    await consuming.basic_consume(NOTIFIER.queue, hops.on_created)
    await hops.run(min(WARM_UP_ORDERS, options.orders), options.in_flight)
    brokers_before, own_before, began = cpu_seconds(options.brokers), time.process_time(), time.perf_counter()
    if options.rate:
        result: dict[str, object] = {"confirm_ms": await paced(hops, options.orders, options.rate)}
    else:
        await hops.run(options.orders, options.in_flight)
        result = {"per_second": options.orders / (time.perf_counter() - began)}
    result["cpu_us_per_order"] = 1e6 * (time.process_time() - own_before) / options.orders
    brokers = cpu_seconds(options.brokers) - brokers_before
    result["brokers_cpu_us_per_order"] = 1e6 * brokers / options.orders
    for connection in (publishing_connection, consuming_connection):
        await connection.close()
    return result


async def paced(hops: TwoHops, orders: int, rate: float) -> dict[str, float]:
    """Latency of a confirmed publish, from when it was due, in milliseconds."""
    latencies: list[float] = []

    async def publish(due_at: float) -> None:
        await hops.publish_placed()
        latencies.append(1000 * (time.perf_counter() - due_at))

    hops.expect(orders)
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(orders):
            due_at = began + number / rate
            if (pause := due_at - time.perf_counter()) > 0:
                await asyncio.sleep(pause)
            group.create_task(publish(due_at))
    await hops.ended()
    latencies.sort()
    return {
        name: percentile(latencies, share) for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }


def main() -> None:
    """Reads the options, runs, prints one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--orders", type=int, required=True)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--brokers", type=pids_of, default=())
    print(orjson.dumps(uvloop.run(run(parser.parse_args()))).decode())


if __name__ == "__main__":
    main()
