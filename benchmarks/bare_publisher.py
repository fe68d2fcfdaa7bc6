"""What one message of a size costs the brokers: confirmed publishes into a quorum queue that is not read."""

import argparse
import asyncio

import orjson
import uvloop
from aio_pika import connect as amqp_connect

from benchmarks.bare_amqp import CORRELATION_ID, HEADERS, SECONDS, declare_quorum_queue
from benchmarks.use import cpu_seconds, pids_of
from shared.messaging.ports import OutgoingMessage
from shared.messaging.rabbitmq.connection import open_channel
from shared.messaging.rabbitmq.publishing import ConfirmedPublishing

QUEUE = "bench.sizes"
WARM_UP_MESSAGES = 100


async def run(options: argparse.Namespace) -> dict[str, float]:
    """The brokers' CPU per message of ``--bytes``, in microseconds."""
    async with await amqp_connect(options.url) as connection:
        channel = await open_channel(connection, publishes=True)
        await declare_quorum_queue(channel, QUEUE)
        publishing = ConfirmedPublishing(channel, timeout_seconds=SECONDS)
        message = OutgoingMessage(
            exchange="",
            routing_key=QUEUE,
            body=b"x" * options.bytes,
            correlation_id=CORRELATION_ID,
            headers=HEADERS,
        )

        async def publish(messages: int) -> None:
            numbers = iter(range(messages))

            async def publisher() -> None:
                for _ in numbers:
                    await publishing.publish(message)

            await asyncio.gather(*(publisher() for _ in range(options.in_flight)))

        await publish(WARM_UP_MESSAGES)
        before = cpu_seconds(options.brokers)
        await publish(options.messages)
        used = cpu_seconds(options.brokers) - before
        await channel.queue_delete(QUEUE, timeout=SECONDS)
    return {"brokers_cpu_us_per_message": 1e6 * used / options.messages}


def main() -> None:
    """Reads the options, runs, prints one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--bytes", type=int, required=True)
    parser.add_argument("--messages", type=int, required=True)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--brokers", type=pids_of, required=True)
    print(orjson.dumps(uvloop.run(run(parser.parse_args()))).decode())


if __name__ == "__main__":
    main()
