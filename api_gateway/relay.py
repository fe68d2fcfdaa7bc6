"""What happens to the outbox: confirmed orders leave it, forgotten ones are published.

One gateway at a time relays, under a lease. Entries younger than twice the publish deadline are left to the
request that wrote them; should one be published twice all the same, its decision stays one.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from shared.breaker import Breaker
from shared.logs import get_logger
from shared.messaging.ports import Publisher
from shared.messaging.settlement import message_of
from shared.messaging.waiting import repeating, waiting_out
from shared.orders.ports import OrderStore, Outbox
from shared.redis.lease import Lease

LEASE_SECONDS: Final = 10.0
RELAY_BATCH: Final = 256
REMOVAL_BATCH: Final = 1000
REMOVAL_PAUSE_SECONDS: Final = 0.05

log = get_logger(__name__)


class OutboxRemovals:
    """Collects confirmed orders and drops them from the outbox in batches.

    What it has not dropped when the process dies is published once more, which changes nothing.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._confirmed: list[str] = []
        self._some = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()

    def add(self, order_id: str) -> None:
        """The order's message is in a queue."""
        self._confirmed.append(order_id)
        self._some.set()

    async def run(self) -> None:
        """Drops batches until cancelled."""
        while True:
            await self._some.wait()
            await self.flush()
            await asyncio.sleep(REMOVAL_PAUSE_SECONDS)

    async def flush(self) -> None:
        """Drops everything that has been collected, waiting for the store where it is away."""
        async with self._one_at_a_time:
            self._some.clear()
            while batch := self._confirmed[:REMOVAL_BATCH]:
                await self._remove(batch)
                del self._confirmed[: len(batch)]

    async def _remove(self, batch: Sequence[str]) -> None:
        await waiting_out(lambda: self._outbox.remove(batch))


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayTimes:
    """In seconds: how old an entry must be, how long to rest between rounds, and how long to leave entries
    alone whose records cannot be read: they may be repaired, or be a newer gateway's.
    """

    minimum_age: float = 4.0
    pause: float = 0.5
    unreadable: float = 60.0


class Relay:
    """Publishes the orders that no request saw through."""

    def __init__(
        self,
        *,
        store: OrderStore,
        outbox: Outbox,
        lease: Lease,
        publisher: Publisher,
        breaker: Breaker,
        times: RelayTimes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._publisher = publisher
        self._breaker = breaker
        self._times = times
        self._lease = lease
        self._clock = clock
        self._unreadable: set[str] = set()
        self._read_again_at = 0.0

    async def run(self) -> None:
        """Relays in rounds until cancelled."""
        await repeating(self._round, self._times.pause, what="the relay")

    async def _round(self) -> None:
        if await self._lease.hold(LEASE_SECONDS):
            await self.relay_once()

    async def relay_once(self) -> int:
        """Publishes every entry that is old enough, as long as the lease is held; returns how many.

        Raises BrokerUnavailable, StoreUnavailable.
        """
        if self._clock() >= self._read_again_at:
            self._unreadable.clear()
            self._read_again_at = self._clock() + self._times.unreadable
        relayed, after = 0, 0
        while entries := await self._outbox.older_than(self._times.minimum_age, after, RELAY_BATCH):
            after = entries[-1][1]
            order_ids = [order_id for order_id, _ in entries if order_id not in self._unreadable]
            relayed += await self.publish(order_ids)
            if not await self._lease.hold(LEASE_SECONDS):
                break
        if relayed:
            log.info("relayed orders from the outbox", count=relayed)
        return relayed

    async def publish(self, order_ids: Sequence[str]) -> int:
        """Publishes these, which leave the outbox once they are confirmed; returns how many.

        Raises BrokerUnavailable, StoreUnavailable.
        """
        records = await self._store.get_many(order_ids)
        known = [record for record in records if record is not None]
        for order_id, record in zip(order_ids, records, strict=True):
            if record is None:
                self._unreadable.add(order_id)
                log.error("the outbox names an order that has no readable record", order_id=order_id)
        results = await asyncio.gather(
            *(self._publisher.publish(message_of(record.placed)) for record in known),
            return_exceptions=True,
        )
        confirmed = [record.order.id for record, result in zip(known, results, strict=True) if result is None]
        if confirmed:
            self._breaker.succeeded()
            await self._outbox.remove(confirmed)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return len(confirmed)
