"""The broker port over a RabbitMQ cluster.

Publishing and consuming use separate connections: an alarm stalls every publisher of a cluster, and must
not keep the consumers from their acks.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from aio_pika.abc import AbstractConnection
from aiormq import spec
from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel

from shared.cancellation import raise_if_cancelled
from shared.errors import BrokerUnavailable, SubscriptionLost
from shared.messaging import spans
from shared.messaging.ports import Delivery, HeaderValue, OutgoingMessage, Subscription
from shared.messaging.rabbitmq.connection import Link, LinkTimes, broker_errors, open_channel, words_of
from shared.messaging.rabbitmq.prefetch import Prefetch
from shared.messaging.rabbitmq.publishing import ConfirmedPublishing
from shared.messaging.rabbitmq.renewal import RenewedSubscription
from shared.messaging.rabbitmq.topology import declare_topology
from shared.messaging.waiting import JITTER

CALL_SECONDS: Final = 10.0
"""Deadline of a declaration, a consume or a cancel: the slowest is a declare just after a leader died."""

IDLE_SECONDS: Final = (2.0, 3.0)
"""How long nothing must come until a consumer is renewed; copies of a service do so at different times."""

QUIET_SECONDS: Final = 0.5
"""How long nothing must come, while acks are withheld, until nothing counts as being under way."""
LONGEST_WITHHOLDING_SECONDS: Final = 10.0
"""Under a steady trickle there is no such quiet: an ever shorter one will do, and after this long none."""
POLL_SECONDS: Final = 0.02


class RabbitPublisher:
    """Publishes persistent messages with confirms over one supervised connection."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        name: str,
        timeout_seconds: float,
        times: LinkTimes,
    ) -> None:
        self._link = Link(urls, name=f"{name} publish", on_open=self._on_open, times=times)
        self._timeout_seconds = timeout_seconds
        self._publishing: ConfirmedPublishing | None = None

    @property
    def node(self) -> str | None:
        """The node that publishes go to at present."""
        return self._link.node

    def unready_reason(self) -> str | None:
        """Why nothing can be published, or None."""
        return self._link.unready_reason()

    async def wait_ready(self) -> None:
        """Returns once a node is connected and the topology stands."""
        await self._link.connection()

    async def run(self) -> None:
        """Keeps the connection, until cancelled."""
        await self._link.run()

    async def publish(self, message: OutgoingMessage) -> None:
        """See the port. A publish without a confirm in time condemns the connection that it went over."""
        publishing = self._publishing
        if publishing is None or self._link.unready_reason() is not None:
            raise BrokerUnavailable(f"no broker: {self._link.unready_reason()}")
        try:
            with spans.publishing(message):
                await publishing.publish(message)
        except BrokerUnavailable as error:
            if publishing is self._publishing:
                self._link.condemn(str(error))
            raise
        self._link.proven()

    async def _on_open(self, connection: AbstractConnection) -> None:
        """Declares the topology on a channel of its own: a refusal must not take the publisher's along."""
        self._publishing = None
        declaring = await open_channel(connection, publishes=False)
        await declare_topology(declaring, CALL_SECONDS)
        await declaring.close()
        channel = await open_channel(connection, publishes=True)
        publishing = ConfirmedPublishing(channel, timeout_seconds=self._timeout_seconds)
        channel.closing.add_done_callback(lambda closing: self._on_channel_closed(publishing, closing))
        self._publishing = publishing

    def _on_channel_closed(self, publishing: ConfirmedPublishing, closing: "asyncio.Future[Any]") -> None:
        if publishing is self._publishing:
            error = None if closing.cancelled() else closing.exception()
            said = f": {words_of(error)}" if error else ""
            self._link.condemn(f"the broker closed the publish channel{said}")


class RabbitSubscriber:
    """Consumes over one supervised connection, each subscription on a channel of its own."""

    def __init__(self, urls: Sequence[str], *, name: str, times: LinkTimes) -> None:
        self._link = Link(urls, name=f"{name} consume", on_open=_nothing_to_set_up, times=times)

    def unready_reason(self) -> str | None:
        """Why nothing can be consumed, or None."""
        return self._link.unready_reason()

    async def run(self) -> None:
        """Keeps the connection, until cancelled."""
        await self._link.run()

    @asynccontextmanager
    async def subscribe(self, queue: str, *, prefetch: int) -> AsyncIterator[Subscription]:
        """Renewed whenever it has been idle for a while, or its prefetch fits no more."""
        fitting = Prefetch(prefetch)
        subscription = RenewedSubscription(
            await self._open(queue, fitting), lambda: self._open(queue, fitting)
        )
        renewing = asyncio.create_task(subscription.renew(JITTER.uniform(*IDLE_SECONDS)))
        try:
            yield subscription
        finally:
            renewing.cancel()
            try:
                with contextlib.suppress(asyncio.CancelledError):
                    await renewing
            finally:
                await subscription.close()
            raise_if_cancelled()

    async def _open(self, queue: str, prefetch: Prefetch) -> "RabbitSubscription":
        """A consumer of its own. The topology is declared first, since the queue may have been deleted."""
        connection = await self._link.connection()
        subscription = RabbitSubscription(queue, prefetch)
        try:
            async with broker_errors(f"consuming {queue}", CALL_SECONDS):
                await subscription.start(await open_channel(connection, publishes=False), prefetch.fit())
        except BrokerUnavailable as error:
            await subscription.close()
            self._link.condemn(str(error))
            raise SubscriptionLost(str(error)) from error
        except BaseException:
            await subscription.close()  # or its deliveries would lie on a channel without a reader
            raise
        self._link.proven()
        return subscription


class RabbitSubscription:
    """One consumer on one channel; deliveries wait here between the socket and the router."""

    def __init__(self, queue: str, fitting: Prefetch | None = None) -> None:
        self._queue = queue
        self._fitting = fitting
        self._arrived: deque[Delivery] = deque()
        self._received = 0
        self._acked = 0
        self._prefetch = 0
        self._cancelling = asyncio.Lock()
        self._withholding = False
        self._last_settled: Delivery | None = None
        self._changed = asyncio.Event()
        self._lost: str | None = None
        self._cancelled = False
        self._consumer_tag = ""
        self._channel: Channel | None = None
        self._closing: asyncio.Future[None] | None = None

    async def start(self, channel: Channel, prefetch: int) -> None:
        """Declares, sets the prefetch and consumes. Raises what the library raises."""
        self._channel = channel
        self._prefetch = prefetch
        channel.closing.add_done_callback(self._on_channel_closed)
        channel.on_consumer_cancel_callbacks.add(self._on_cancelled_by_broker)
        await declare_topology(channel, CALL_SECONDS)
        await channel.basic_qos(prefetch_count=prefetch, timeout=CALL_SECONDS)
        consumed = await channel.basic_consume(self._queue, self._on_delivery, timeout=CALL_SECONDS)
        self._consumer_tag = str(consumed.consumer_tag)

    async def receive(self, limit: int) -> Sequence[Delivery]:
        while not self._arrived:
            if self._lost is not None:
                raise SubscriptionLost(self._lost)
            if self._cancelled:
                return ()
            self._changed.clear()
            await self._changed.wait()
        if self._lost is not None:
            raise SubscriptionLost(self._lost)
        return [self._arrived.popleft() for _ in range(min(limit, len(self._arrived)))]

    async def ack(self, delivery: Delivery) -> None:
        self._last_settled = delivery
        if not self._withholding:
            self._acked = delivery.tag
            await self._ack(delivery, multiple=True)

    async def ack_alone(self, delivery: Delivery) -> None:
        await self._ack(delivery, multiple=False)

    async def _ack(self, delivery: Delivery, *, multiple: bool) -> None:
        if self._channel is None or self._lost is not None:
            raise SubscriptionLost(self._lost or "ended")
        try:
            async with broker_errors("acking", CALL_SECONDS):
                await self._channel.basic_ack(delivery.tag, multiple=multiple, wait=False)
        except BrokerUnavailable as error:
            raise SubscriptionLost(str(error)) from error

    async def cancel(self) -> None:
        """See Renewable.

        A quorum queue takes back, as delivered in vain, whatever is on its way when a consumer cancels. So
        acks are withheld first, until the prefetch is used up or nothing comes: then nothing is on its way.
        """
        async with self._cancelling:
            if self._channel is not None and self._lost is None and not self._cancelled:
                await self._cancel(self._channel)

    async def _cancel(self, channel: Channel) -> None:
        self._withholding = True
        await self._until_nothing_is_under_way()
        try:
            async with broker_errors("cancelling the consumer", CALL_SECONDS):
                await self._stop_consuming(channel)
        except BrokerUnavailable as error:
            self._lose(str(error))
            raise SubscriptionLost(str(error)) from error
        self._withholding = False
        if self._last_settled is not None and self._last_settled.tag > self._acked:
            await self.ack(self._last_settled)
        self._cancelled = True
        self._changed.set()

    async def worn(self, seconds: float) -> None:
        seen = -1
        while self._withholding or not (self._misfits() or seen == self._received == self._acked):
            seen = self._received
            await asyncio.sleep(seconds)

    def _misfits(self) -> bool:
        return self._fitting is not None and not self._fitting.fits()

    async def close(self) -> None:
        """See Renewable. It goes on when the caller is cancelled: the library, cancelled while it closes a
        channel, closes it a second time, and the broker ends the whole connection for that."""
        self.end()
        if self._channel is not None:
            self._closing = self._closing or asyncio.ensure_future(self._close(self._channel))
            await asyncio.shield(self._closing)

    async def _close(self, channel: Channel) -> None:
        with contextlib.suppress(BrokerUnavailable):
            async with broker_errors("closing a channel", CALL_SECONDS):
                await channel.close()

    async def _until_nothing_is_under_way(self) -> None:
        loop = asyncio.get_running_loop()
        began = quiet_since = loop.time()
        received = self._received
        while self._lost is None and self._received - self._acked < self._prefetch:
            now = loop.time()
            if received != self._received:
                received, quiet_since = self._received, now
            patience = 1 - (now - began) / LONGEST_WITHHOLDING_SECONDS
            if now - quiet_since > QUIET_SECONDS * patience:
                return
            await asyncio.sleep(POLL_SECONDS)

    async def _stop_consuming(self, channel: Channel) -> None:
        """Cancels without CancelOk, at which the library would drop what comes after it; a call that the
        broker answers after the cancel says that the cancel is done."""
        await channel.basic_cancel(self._consumer_tag, nowait=True, timeout=CALL_SECONDS)
        channel.consumers[self._consumer_tag] = self._on_delivery
        await channel.basic_qos(prefetch_count=self._prefetch, timeout=CALL_SECONDS)

    def end(self) -> None:
        """No delivery is looked at after this."""
        self._lose("ended")

    def _lose(self, reason: str) -> None:
        self._lost = self._lost or reason
        self._changed.set()

    async def _on_delivery(self, message: DeliveredMessage) -> None:
        self._received += 1
        if self._fitting is not None:
            self._fitting.note(message.body, self._received - self._acked)
        self._arrived.append(_delivery_of(message))
        self._changed.set()

    def _on_channel_closed(self, closing: "asyncio.Future[Any]") -> None:
        error = None if closing.cancelled() else closing.exception()
        self._lose(f"the channel was closed: {words_of(error)}" if error else "the channel was closed")

    def _on_cancelled_by_broker(self, _: object) -> None:
        self._lose(f"the broker cancelled the consumer of {self._queue}")


async def _nothing_to_set_up(_: AbstractConnection) -> None:
    return None


def _delivery_of(message: DeliveredMessage) -> Delivery:
    properties = message.header.properties
    headers = {
        name: value for name, value in (properties.headers or {}).items() if isinstance(value, HeaderValue)
    }
    frame = cast(spec.Basic.Deliver, message.delivery)
    redelivered = bool(frame.redelivered)
    count_header = headers.get("x-delivery-count")
    return Delivery(
        tag=frame.delivery_tag or 0,
        body=bytes(message.body),
        routing_key=message.routing_key or "",
        correlation_id=properties.correlation_id or "",
        headers=headers,
        redelivered=redelivered,
        delivery_count=count_header if isinstance(count_header, int) else int(redelivered),
    )
