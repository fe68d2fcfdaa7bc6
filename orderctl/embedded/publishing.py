"""The in-memory broker for operators: the port of the embedded store takes messages too, by one command.

The command is called as those of Redis' modules are; a store that is not embedded refuses it.
"""

from collections.abc import Sequence
from typing import Any, Final

from shared.messaging.ports import TRACEPARENT, OutgoingMessage, Publisher
from shared.redis.client import Redis, store_deadline

PUBLISH: Final = b"BROKER.PUBLISH"


class EmbeddedPublisher:
    """Publishes to a queue of an embedded system. Raises StoreUnavailable where it is refused or away."""

    def __init__(self, redis: Redis, *, timeout_seconds: float) -> None:
        self._redis: Any = redis
        self._timeout_seconds = timeout_seconds

    async def publish(self, message: OutgoingMessage) -> None:
        trace = message.headers.get(TRACEPARENT, "")
        words = (message.routing_key, message.body, message.correlation_id, trace)
        async with store_deadline(self._timeout_seconds):
            await self._redis.execute_command(PUBLISH.decode(), *words)


async def publish_words(broker: Publisher, words: Sequence[bytes]) -> None:
    """Does what such a command says. Raises ValueError for words that are no message, and as ``broker``."""
    queue, body, correlation_id, trace = words
    await broker.publish(
        OutgoingMessage(
            exchange="",
            routing_key=queue.decode(),
            body=body,
            correlation_id=correlation_id.decode(),
            headers={TRACEPARENT: trace.decode()} if trace else {},
        )
    )
