"""What the pipeline needs of a broker. The docstrings are the guarantees that every adapter keeps."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final, Protocol

HeaderValue = str | int
Headers = Mapping[str, HeaderValue]
TRACEPARENT: Final = "traceparent"
"""The header of a message of one event; the envelope has it too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingMessage:
    """A persistent message, of one event or several.

    ``expiration_seconds`` is when the queue gives it up, if ever. One that is not ``mandatory`` may reach no
    queue at all: nothing need listen. ``traceparents`` are those that the envelopes of several events have.
    """

    exchange: str
    routing_key: str
    body: bytes
    correlation_id: str = ""
    headers: Headers = field(default_factory=dict)
    expiration_seconds: float | None = None
    mandatory: bool = True
    traceparents: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message as the broker handed it out.

    ``delivery_count`` is how often the broker has delivered it before, as far as the broker counts.
    """

    tag: int
    body: bytes
    routing_key: str
    correlation_id: str
    headers: Headers
    redelivered: bool
    delivery_count: int


class Publisher(Protocol):
    """Puts messages into queues."""

    async def publish(self, message: OutgoingMessage) -> None:
        """Returns once a majority of the queue's members have the message.

        Raises Unroutable when no queue took a mandatory one, and BrokerUnavailable when no confirm came in
        time: then the outcome is unknown, and the message may be enqueued yet. Never waits longer than the
        deadline; where no broker is known to be up it does not wait at all.
        """


class Subscription(Protocol):
    """The deliveries of one consumer on one channel. It ends with its channel."""

    async def receive(self, limit: int) -> Sequence[Delivery]:
        """Waits for at least one delivery and returns what has arrived, ``limit`` at most, in order.

        Returns nothing once cancelled and empty. Raises SubscriptionLost when the channel, the consumer
        or the queue is gone: whatever was not acked is delivered again to another subscription.
        """

    async def ack(self, delivery: Delivery) -> None:
        """Settles this delivery and every one received before it. Raises SubscriptionLost."""

    async def cancel(self) -> None:
        """Asks for no more; what has arrived can still be received and acked."""


class Subscriber(Protocol):
    """Takes messages out of queues."""

    def subscribe(self, queue: str, *, prefetch: int) -> AbstractAsyncContextManager[Subscription]:
        """Consumes ``queue`` with at most ``prefetch`` unacked deliveries; waits for a broker to do so.

        Raises SubscriptionLost when the attempt fails.
        """
