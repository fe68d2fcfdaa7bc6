"""A subscription that moves to a new consumer whenever it has been idle for a while, or fits no more.

A consumer cannot know whether its queue still knows it. Measured on RabbitMQ 3.10, where a queue was deleted
and declared anew at a bad moment: once it had no consumer and told nobody, once it had handed twenty messages
to a channel that took them for old ones and dropped them. Either way nothing came any more, for ever.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from shared.errors import SubscriptionLost
from shared.messaging.ports import Delivery, Subscription


class Renewable(Subscription, Protocol):
    """A subscription that can tell when to be renewed, and that the one who opened it closes."""

    async def worn(self, seconds: float) -> None:
        """Returns once nothing has come for that long and everything that came is acked, or once another
        consumer would fit better; looks so often."""

    async def cancel(self) -> None:
        """See the port. Where it is being cancelled already, this waits for that."""

    async def close(self) -> None:
        """Ends it at once; whatever was not acked is delivered again."""


class RenewedSubscription:
    """One subscription after the other, as if it were one.

    The next one consumes before the last one is cancelled, so that the queue is never without a consumer.
    """

    def __init__(self, first: Renewable, open_next: Callable[[], Awaitable[Renewable]]) -> None:
        """``open_next`` raises SubscriptionLost where it cannot."""
        self._last: Renewable | None = None
        self._current = first
        self._next: Renewable | None = None
        self._open_next = open_next
        self._opening = asyncio.Lock()
        self._moved = asyncio.Event()
        self._ending = False
        self.renewals = 0

    async def receive(self, limit: int) -> Sequence[Delivery]:
        while True:
            deliveries = await self._current.receive(limit)
            if deliveries or self._next is None:
                return deliveries
            self._last, self._current, self._next = self._current, self._next, None
            self._moved.set()

    async def ack(self, delivery: Delivery) -> None:
        """See the port. What is acked came last, and so from the subscription that is current until then."""
        await self._current.ack(delivery)

    async def cancel(self) -> None:
        """See the port. The next one, where it is being opened, is waited for: it may have deliveries."""
        self._ending = True
        async with self._opening:
            open_ones = [self._current] if self._next is None else [self._current, self._next]
        for result in await asyncio.gather(*(one.cancel() for one in open_ones), return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def renew(self, idle_seconds: float) -> None:
        """Renews whenever it is worn, for which it looks so often, until cancelled or lost."""
        with contextlib.suppress(SubscriptionLost):
            while True:
                await self._current.worn(idle_seconds)
                async with self._opening:
                    if self._ending:
                        return
                    self._moved.clear()
                    self._next = await self._open_next()
                await self._current.cancel()
                await self._moved.wait()
                await self._close_last()
                self.renewals += 1

    async def close(self) -> None:
        """Ends whatever is open."""
        await self._close_last()
        await self._current.close()
        if self._next is not None:
            await self._next.close()

    async def _close_last(self) -> None:
        if self._last is not None:
            await self._last.close()
            self._last = None
