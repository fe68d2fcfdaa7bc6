"""Dead letters in a RabbitMQ cluster, over a connection that nothing else uses."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from aio_pika.abc import AbstractConnection
from aiormq.channel import Channel

from shared.errors import BrokerUnavailable
from shared.messaging.dead_letters import LETTERS_PER_LOOK, DeadLettersBusy, Letters
from shared.messaging.rabbitmq.broker import CALL_SECONDS, RabbitSubscription
from shared.messaging.rabbitmq.connection import Link, LinkTimes, broker_errors, open_channel
from shared.messaging.rabbitmq.topology import declare_topology

FREE_SECONDS = 3.0
"""How long to wait for whoever looked before: letters are given back just after their channel has closed."""
ASK_AGAIN_SECONDS = 0.02


class RabbitDeadLetterBox:
    """See the port."""

    def __init__(self, urls: Sequence[str], *, name: str, times: LinkTimes) -> None:
        self._link = Link(urls, name=f"{name} dead letters", on_open=_declare, times=times)

    def unready_reason(self) -> str | None:
        """Why nothing can be looked at, or None."""
        return self._link.unready_reason()

    async def run(self) -> None:
        """Keeps the connection, until cancelled."""
        await self._link.run()

    @asynccontextmanager
    async def look_into(self, queue: str) -> AsyncIterator[Letters]:
        """See the port. Does not wait where no broker is known to be up."""
        self._require_link()
        async with AsyncExitStack() as stack:
            subscription = RabbitSubscription(queue)
            try:
                channel = await stack.enter_async_context(_channel(await self._link.connection()))
                async with broker_errors(f"looking into {queue}", CALL_SECONDS):
                    waiting = await _waiting_for_us(channel, queue)
                    await subscription.start(channel, LETTERS_PER_LOOK)
            except BrokerUnavailable as error:
                self._link.condemn(str(error))
                raise
            stack.callback(subscription.end)
            yield Letters(subscription, waiting)

    async def waiting(self, queue: str) -> int | None:
        """Asks the queue itself: what brokers tell of all queues is up to 10 s old."""
        self._require_link()
        async with (
            _channel(await self._link.connection()) as channel,
            broker_errors(f"counting {queue}", CALL_SECONDS),
        ):
            found = await channel.queue_declare(queue, passive=True, timeout=CALL_SECONDS)
        return None if found.consumer_count else found.message_count or 0

    def _require_link(self) -> None:
        if self._link.unready_reason() is not None:
            raise BrokerUnavailable(f"no broker: {self._link.unready_reason()}")


async def _declare(connection: AbstractConnection) -> None:
    async with _channel(connection) as channel:
        await declare_topology(channel, CALL_SECONDS)


@asynccontextmanager
async def _channel(connection: AbstractConnection) -> AsyncIterator[Channel]:
    async with broker_errors("opening a channel", CALL_SECONDS):
        channel = await open_channel(connection, publishes=False)
    try:
        yield channel
    finally:
        with contextlib.suppress(BrokerUnavailable):
            async with broker_errors("closing a channel", CALL_SECONDS):
                await channel.close()


async def _waiting_for_us(channel: Channel, queue: str) -> int:
    """How many letters lie there, once nobody else has any of them out."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + FREE_SECONDS
    while True:
        found = await channel.queue_declare(queue, passive=True, timeout=CALL_SECONDS)
        if not found.consumer_count:
            return found.message_count or 0
        if loop.time() > deadline:
            raise DeadLettersBusy(f"somebody else is reading {queue}")
        await asyncio.sleep(ASK_AGAIN_SECONDS)
