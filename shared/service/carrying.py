"""The loop that empties an outbox: the oldest rows of a kind are carried and then removed, time and again."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from shared.messaging.batching import together
from shared.messaging.ports import Publisher
from shared.messaging.shop import shop_message
from shared.messaging.waiting import repeating
from shared.redis.lease import Lease
from shared.sql.outbox import OutboxRow

ROWS_AT_ONCE: Final = 100
PAUSE_SECONDS: Final = 0.25
LEASE_SECONDS: Final = 10.0

Carry = Callable[[Sequence[OutboxRow]], Awaitable[None]]
"""Brings rows, in their order, to where they go. It may do so again; it raises DependencyUnavailable."""


class CarriedOutbox(Protocol):
    """Where rows wait. Methods raise DependencyUnavailable."""

    async def oldest(self, kind: str, limit: int) -> Sequence[OutboxRow]:
        """What is to be carried next."""

    async def remove(self, rows: Sequence[OutboxRow]) -> None:
        """These were carried."""


class Carrier:
    """Carries one kind of rows. With a lease one replica does, ``rows_per_turn`` before it is renewed."""

    def __init__(
        self,
        outbox: CarriedOutbox,
        kind: str,
        carry: Carry,
        lease: Lease | None = None,
        *,
        rows_per_turn: int = 1,
    ) -> None:
        self._outbox = outbox
        self._kind = kind
        self._carry = carry
        self._lease = lease
        self._rows_per_turn = rows_per_turn
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
                    rows = await self._carry_by_turns(rows, self._lease)
                await self._outbox.remove(rows)
                if len(rows) < ROWS_AT_ONCE:
                    return

    async def _carry_by_turns(self, rows: Sequence[OutboxRow], lease: Lease) -> Sequence[OutboxRow]:
        """Carries these, as long as the lease is this process' own, and says which it has.

        It is renewed before each turn, since a slow broker may take a batch's for longer than it holds.
        """
        for carried in range(0, len(rows), self._rows_per_turn):
            if not await lease.hold(LEASE_SECONDS):
                return rows[:carried]
            await self._carry(rows[carried : carried + self._rows_per_turn])
        return rows


def publishing(publisher: Publisher, events_per_message: int = 1) -> Carry:
    """Publishes events of the shop, each with its confirm before the next, so that their order is kept.

    Several go as one message where rows are of one type, and their order is of no importance.
    """

    async def publish(rows: Sequence[OutboxRow]) -> None:
        for message in together([shop_message(row.body) for row in rows], events_per_message):
            await publisher.publish(message)

    return publish
