"""One more consumer of every event: a further queue that is bound to them, and an ack for each message.

Prints a line once it consumes and another when ``--events`` have been acked, and takes its queue along.
"""

import argparse
import asyncio

import orjson
import uvloop
from aio_pika import connect as amqp_connect
from aiormq.abc import DeliveredMessage

from benchmarks.bare_amqp import PREFETCH, SECONDS, declare_quorum_queue
from shared.messaging.rabbitmq.connection import open_channel
from shared.pipeline import NOTIFIER

QUEUE = "bench.one-more"


def events_in(body: bytes) -> int:
    """A message holds one event or an array of them."""
    return len(orjson.loads(body)) if body.startswith(b"[") else 1


async def run(options: argparse.Namespace) -> None:
    """Consumes until all have been acked."""
    async with await amqp_connect(options.url) as connection:
        channel = await open_channel(connection, publishes=False)
        await declare_quorum_queue(channel, QUEUE)
        await channel.queue_bind(
            QUEUE, NOTIFIER.exchange.name, routing_key=NOTIFIER.routing_key, timeout=SECONDS
        )
        events = messages = 0
        done = asyncio.Event()

        async def on_message(message: DeliveredMessage) -> None:
            nonlocal events, messages
            await channel.basic_ack(message.delivery_tag or 0, wait=False)
            messages += 1
            events += events_in(message.body)
            if events >= options.events:
                done.set()

        await channel.basic_qos(prefetch_count=PREFETCH)
        consuming = await channel.basic_consume(QUEUE, on_message)
        print(orjson.dumps({"ready": True}).decode(), flush=True)
        async with asyncio.timeout(options.seconds):
            await done.wait()
        print(orjson.dumps({"events": events, "messages": messages}).decode(), flush=True)
        await channel.basic_cancel(consuming.consumer_tag or "")
        await channel.queue_delete(QUEUE, timeout=SECONDS)


def main() -> None:
    """Reads the options and runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=300.0)
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
