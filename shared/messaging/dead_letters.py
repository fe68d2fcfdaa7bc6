"""Looking into a dead-letter queue, and taking letters out of it.

To look is to consume without an ack and then to close the channel, which gives everything back. A quorum
queue keeps what was given back apart, in front of the rest, and hands it out first; so the order holds as
long as each look takes out at least as much as the one before had given back. That is why every look has
the same prefetch, however little it wants to see: with a smaller one the queue would turn.

One look at a time, since it takes all letters out of the sight of others. Callers see to that with a lease; a
queue that has a consumer all the same is refused as busy.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from shared.errors import BrokerUnavailable, DependencyUnavailable, SubscriptionLost
from shared.messaging.ports import Delivery, Subscription

LETTERS_PER_LOOK: Final = 10_000
"""How many letters may be out at once, and so how deep a look can see. The same for every look, see above."""
SILENCE_SECONDS: Final = 2.0
"""When to believe that no more letters come although more had lain there."""


class DeadLettersBusy(DependencyUnavailable):
    """Raised while the dead-letter queue has another consumer: ask again soon."""


class LetterSubscription(Subscription, Protocol):
    """A subscription whose deliveries can be settled one by one."""

    async def ack_alone(self, delivery: Delivery) -> None:
        """Settles this delivery and no other. Raises SubscriptionLost."""


class DeadLetterBox(Protocol):
    """Gives sight of dead-letter queues."""

    def look_into(self, queue: str) -> AbstractAsyncContextManager["Letters"]:
        """The letters of one queue. After the block all that were not removed lie there as they did before,
        in the same order, whichever way the block ended.

        Raises BrokerUnavailable, and DeadLettersBusy while the queue has another consumer.
        """


class DeadLetterCount(Protocol):
    """Counts dead letters without looking at them."""

    async def waiting(self, queue: str) -> int | None:
        """How many lie in a queue at this moment; None while they are being looked at.

        Raises BrokerUnavailable.
        """


class Letters:
    """The letters that lay in a queue when it was opened; those that come later are not looked at."""

    def __init__(self, subscription: LetterSubscription, waiting: int) -> None:
        self._subscription = subscription
        self.waiting = waiting
        self._seen = 0
        self.removed = 0

    @property
    def all_seen(self) -> bool:
        """Whether every letter that lay there has been handed out."""
        return self._seen >= self.waiting

    async def next(self, limit: int) -> Sequence[Delivery]:
        """The next letters, ``limit`` at most, in the order in which they lie.

        None once all have been seen, or as many as a look can see while none are removed.
        Raises BrokerUnavailable.
        """
        left = min(self.waiting, LETTERS_PER_LOOK + self.removed) - self._seen
        if left <= 0:
            return ()
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                letters = await self._subscription.receive(min(limit, left))
        except TimeoutError:
            return ()
        except SubscriptionLost as error:
            raise BrokerUnavailable(f"looking at dead letters: {error}") from error
        self._seen += len(letters)
        return letters

    async def replace(self, letter: Delivery, count: int) -> None:
        """Takes a letter out, as :meth:`remove` does, for which ``count`` have been put behind the last."""
        await self.remove(letter)
        self.waiting += count

    async def remove(self, letter: Delivery) -> None:
        """Takes a letter out for good. Raises BrokerUnavailable, and then it may lie there again."""
        try:
            await self._subscription.ack_alone(letter)
        except SubscriptionLost as error:
            raise BrokerUnavailable(f"removing a dead letter: {error}") from error
        self.removed += 1
