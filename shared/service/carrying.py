"""The loop that empties an outbox: the oldest rows of a kind are carried and then removed, time and again."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from shared.messaging.ports import Publisher
from shared.messaging.shop import shop_message
from shared.messaging.waiting import repeating
from shared.redis.lease import Lease
from shared.sql.outbox import OutboxRow, SqlOutbox

ROWS_AT_ONCE: Final = 100
PAUSE_SECONDS: Final = 0.25
LEASE_SECONDS: Final = 10.0

Carry = Callable[[Sequence[OutboxRow]], Awaitable[None]]
"""Brings rows, in their order, to where they go. It may do so again; it raises DependencyUnavailable."""


class Carrier:
    """Carries one kind of rows. With a lease, one replica at a time does."""

    def __init__(self, outbox: SqlOutbox, kind: str, carry: Carry, lease: Lease | None = None) -> None:
        self._outbox = outbox
        self._kind = kind
        self._carry = carry
        self._lease = lease
        self._one_at_a_time = asyncio.Lock()

    async def run(self) -> None:
        """Carries until cancelled, and waits where something that it needs is away."""
        await repeating(self.round, PAUSE_SECONDS, what=f"the outbox ({self._kind})")

    async def round(self) -> None:
        """Carries what there is; once it returns, nothing of it is carried again here.

        Raises DependencyUnavailable.
        """
        async with self._one_at_a_time:
            while self._lease is None or await self._lease.hold(LEASE_SECONDS):
                rows = await self._outbox.oldest(self._kind, ROWS_AT_ONCE)
                if not rows:
                    return
                if self._lease is None:
                    await self._carry(rows)
                else:
                    rows = await self._carry_singly(rows, self._lease)
                await self._outbox.remove([row.number for row in rows])

    async def _carry_singly(self, rows: Sequence[OutboxRow], lease: Lease) -> Sequence[OutboxRow]:
        """Carries these, as long as the lease is this process' own, and says which it has.

        It is renewed before each, since a slow broker may take a batch's for longer than it holds.
        """
        for carried, row in enumerate(rows):
            if not await lease.hold(LEASE_SECONDS):
                return rows[:carried]
            await self._carry([row])
        return rows


def publishing(publisher: Publisher) -> Carry:
    """Publishes events of the shop, each with its confirm before the next, so that their order is kept."""

    async def publish(rows: Sequence[OutboxRow]) -> None:
        for row in rows:
            await publisher.publish(shop_message(row.body))

    return publish
