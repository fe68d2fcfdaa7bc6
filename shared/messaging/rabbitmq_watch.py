"""Notices a consumer that the broker has forgotten without saying so.

Measured on RabbitMQ 3.10: when a queue was deleted and declared anew while acks were on their way, the
consumer got no ``basic.cancel``; its channel stayed open, and messages waited in the new queue for ever.
"""

import asyncio
from typing import Final, Protocol

from aio_pika.abc import AbstractConnection
from aiormq.exceptions import ChannelNotFoundEntity

from shared.errors import BrokerUnavailable
from shared.messaging.rabbitmq_link import broker_errors, open_channel

WATCH_SECONDS: Final = 2.0
CALL_SECONDS: Final = 10.0


class Watched(Protocol):
    """A consumer as the watch sees it."""

    @property
    def received(self) -> int:
        """How many deliveries have come."""

    @property
    def is_idle(self) -> bool:
        """Whether all of them are acked, so that the broker could send more and none would be sent again."""

    def lose(self, reason: str) -> None:
        """Ends it, for the router to subscribe anew."""


async def watch_consumer(connection: AbstractConnection, queue: str, consumer: Watched) -> None:
    """Ends an idle consumer that nothing comes to twice in a row although it should; until cancelled."""
    suspected_at: int | None = None
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        if not await _is_left_waiting(connection, queue) or not consumer.is_idle:
            suspected_at = None
        elif suspected_at == consumer.received:
            consumer.lose(f"the broker has forgotten the consumer of {queue}")
            return
        else:
            suspected_at = consumer.received


async def _is_left_waiting(connection: AbstractConnection, queue: str) -> bool:
    """Whether the queue is gone, has no consumer or has messages that nobody was sent.

    Asked on a channel of its own: an answer that does not come closes the channel that it was asked on. What
    that says of the connection is for its link to find out.
    """
    try:
        async with broker_errors(f"looking at {queue}", CALL_SECONDS):
            channel = await open_channel(connection, publishes=False)
            try:
                found = await channel.queue_declare(queue, passive=True, timeout=CALL_SECONDS)
            except ChannelNotFoundEntity:
                return True
            await channel.close()
    except BrokerUnavailable:
        return False
    return not found.consumer_count or bool(found.message_count)
