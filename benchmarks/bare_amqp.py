"""The ceiling: what two hops through the same queues cost a client that does nothing else.

Publish with confirm → consume, publish with confirm, ack → consume, ack; bodies, properties, prefetch and the
number in flight are the pipeline's own. One process on the library's lower half, with uvloop; or, with
``--as-we-do``, publishing past it as the pipeline does.
"""

import argparse
import asyncio
import time
from datetime import datetime

import orjson
import uvloop
from aio_pika import connect as amqp_connect
from aiormq import spec
from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel

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
from shared.messaging.rabbitmq.publishing import CONTENT_TYPE, PERSISTENT, ConfirmedPublishing
from shared.messaging.rabbitmq.topology import declare_topology
from shared.pipeline import NOTIFIER, ORDER_PROCESSOR, ROUTES

PREFETCH = 200
SECONDS = 30.0
SOME_TIME = event_time(1_700_000_000_123_456)
CORRELATION_ID = "0" * 32
HEADERS = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}


def body_of(
    data: type[OrderPlaced] | type[OrderCreated],
    items: int,
    order_id: str = "bench-0-123456",
    placed_at: datetime = SOME_TIME,
) -> bytes:
    """An event of the size that the pipeline's own have."""
    order = Order(id=order_id, items=tuple(OrderItem(sku=f"bench-{n}", qty=1) for n in range(items)))
    trace = Trace(correlation_id=CORRELATION_ID, traceparent=HEADERS["traceparent"])
    event: Event[EventData] = Event(
        source="/api_gateway", time=placed_at, data=data(order=order), trace=trace
    )
    return encode(event)


class TwoHops:
    """Publisher, middle and end of a pipeline without any work in it."""

    def __init__(self, publishing: Channel, consuming: Channel, items: int, *, as_we_do: bool) -> None:
        self._publishing = publishing
        self._ours = ConfirmedPublishing(publishing, timeout_seconds=SECONDS) if as_we_do else None
        self._consuming = consuming
        self._placed, self._created = body_of(OrderPlaced, items), body_of(OrderCreated, items)
        self._numbers = 0
        self._ended = 0
        self._wanted = 0
        self._all = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, orders: int, in_flight: int) -> None:
        """``orders`` through both hops, ``in_flight`` unconfirmed at the first."""
        self._wanted = self._ended + orders
        self._all.clear()
        numbers = iter(range(orders))

        async def publisher() -> None:
            for _ in numbers:
                await self.publish_placed()

        await asyncio.gather(*(publisher() for _ in range(in_flight)))
        await self._all.wait()

    async def fill(self, prefix: str, orders: int, in_flight: int) -> None:
        """Lets ``orders`` wait for the processor, each with an id of its own, placed now."""
        numbers = iter(range(orders))
        now = event_time(round(time.time() * 1_000_000))

        async def publisher() -> None:
            for number in numbers:
                await self._publish(OrderPlaced, body_of(OrderPlaced, 1, f"{prefix}{number}", now))

        await asyncio.gather(*(publisher() for _ in range(in_flight)))

    async def publish_placed(self) -> None:
        """One confirmed publish of the first hop."""
        await self._publish(OrderPlaced, self._placed)

    async def on_placed(self, message: DeliveredMessage) -> None:
        """The middle."""
        task = asyncio.ensure_future(self._hand_on(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _hand_on(self, message: DeliveredMessage) -> None:
        await self._publish(OrderCreated, self._created)
        await self._consuming.basic_ack(message.delivery_tag or 0, wait=False)

    async def on_created(self, message: DeliveredMessage) -> None:
        """The end."""
        await self._consuming.basic_ack(message.delivery_tag or 0, wait=False)
        self._ended += 1
        if self._ended >= self._wanted:
            self._all.set()

    async def _publish(self, data: type[EventData], body: bytes) -> None:
        route = ROUTES[type_name(data)]
        if self._ours is not None:
            await self._ours.publish(
                OutgoingMessage(
                    exchange=route.exchange,
                    routing_key=route.routing_key,
                    body=body,
                    correlation_id=CORRELATION_ID,
                    headers=HEADERS,
                )
            )
            return
        self._numbers += 1
        await self._publishing.basic_publish(
            body,
            exchange=route.exchange,
            routing_key=route.routing_key,
            mandatory=True,
            properties=spec.Basic.Properties(
                content_type=CONTENT_TYPE,
                delivery_mode=PERSISTENT,
                message_id=str(self._numbers),
                correlation_id=CORRELATION_ID,
                headers=dict(HEADERS),
            ),
            wait=False,
        )


async def run(options: argparse.Namespace) -> dict[str, object]:
    """Throughput, and at ``--rate`` the latency of one confirmed publish."""
    publishing_connection, consuming_connection = [await amqp_connect(options.url) for _ in range(2)]
    publishing = await open_channel(publishing_connection, publishes=True)
    consuming = await open_channel(consuming_connection, publishes=False)
    await declare_topology(publishing, SECONDS)
    hops = TwoHops(publishing, consuming, options.items, as_we_do=options.as_we_do)
    if options.fill:
        await hops.fill(options.fill, options.orders, options.in_flight)
        return {"orders": options.orders}
    await consuming.basic_qos(prefetch_count=PREFETCH)
    await consuming.basic_consume(ORDER_PROCESSOR.queue, hops.on_placed)
    await consuming.basic_consume(NOTIFIER.queue, hops.on_created)
    await hops.run(min(200, options.orders), options.in_flight)
    cpu_before, began = time.process_time(), time.perf_counter()
    if options.rate:
        result: dict[str, object] = {"confirm_ms": await paced(hops, options.orders, options.rate)}
    else:
        await hops.run(options.orders, options.in_flight)
        result = {"per_second": options.orders / (time.perf_counter() - began)}
    result["cpu_us_per_order"] = 1e6 * (time.process_time() - cpu_before) / options.orders
    for connection in (publishing_connection, consuming_connection):
        await connection.close()
    return result


async def paced(hops: TwoHops, orders: int, rate: float) -> dict[str, float]:
    """Latency of a confirmed publish, from when it was due, in milliseconds."""
    latencies: list[float] = []

    async def publish(due_at: float) -> None:
        await hops.publish_placed()
        latencies.append(1000 * (time.perf_counter() - due_at))

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(orders):
            due_at = began + number / rate
            if (pause := due_at - time.perf_counter()) > 0:
                await asyncio.sleep(pause)
            group.create_task(publish(due_at))
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
    parser.add_argument("--items", type=int, default=1)
    parser.add_argument("--fill", default="", help="only fill the processor's queue; ids begin with this")
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument(
        "--as-we-do", action="store_true", help="publish as the pipeline does, past the library"
    )
    print(orjson.dumps(uvloop.run(run(parser.parse_args()))).decode())


if __name__ == "__main__":
    main()
