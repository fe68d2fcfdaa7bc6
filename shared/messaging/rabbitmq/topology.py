"""Declaring the whole topology. Every service does so when it connects, so that no order can meet a
missing queue, whichever service ran first."""

from aiormq.abc import AbstractChannel

from shared.pipeline import BINDINGS, EXCHANGES, queues


async def declare_topology(channel: AbstractChannel, timeout_seconds: float) -> None:
    """Declares every exchange, queue and binding; repeating it changes nothing.

    Raises what the library raises, such as a 406 where a queue exists with other arguments.
    """
    for exchange in EXCHANGES:
        await channel.exchange_declare(
            exchange.name, exchange_type=exchange.type, durable=True, timeout=timeout_seconds
        )
    for queue in queues():
        await channel.queue_declare(
            queue.name, durable=True, arguments=dict(queue.arguments), timeout=timeout_seconds
        )
    for binding in BINDINGS:
        await channel.queue_bind(
            binding.queue, binding.exchange, routing_key=binding.routing_key, timeout=timeout_seconds
        )
