"""Moves of orders: made by one script, and announced from the outbox that it writes.

One gateway at a time announces, under a lease, soon after a move and again and again until it is confirmed.
A move that is announced twice is the same event.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from shared.logs import get_logger
from shared.messaging.ports import Publisher
from shared.messaging.settlement import message_of
from shared.messaging.waiting import repeating
from shared.orders.model import OrderStatus
from shared.orders.moves import Move, MoveResult, move_event
from shared.orders.ports import MoveStore, OrderStore
from shared.orders.records import OrderRecord
from shared.redis.lease import Lease

LEASE_SECONDS: Final = 10.0
AT_ONCE: Final = 256
PAUSE_SECONDS: Final = 0.5
UNREADABLE_SECONDS: Final = 60.0
"""How long moves are left alone whose records cannot be read."""

log = get_logger(__name__)


class AnnouncedMoves:
    """Makes moves and sees to their announcement."""

    def __init__(
        self,
        moves: MoveStore,
        orders: OrderStore,
        publisher: Publisher,
        lease: Lease,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._moves = moves
        self._orders = orders
        self._publisher = publisher
        self._lease = lease
        self._some = asyncio.Event()
        self._unreadable: set[tuple[str, OrderStatus]] = set()
        self._clock, self._read_again_at = clock, 0.0

    async def move(self, record: OrderRecord, move: Move) -> MoveResult:
        result = await self._moves.move(record, move)
        self._some.set()
        return result

    async def run(self) -> None:
        """Announces moves until cancelled, its own at once and others' soon."""
        await repeating(self._round, 0.0, what="the announcing of moves")

    async def _round(self) -> None:
        try:
            async with asyncio.timeout(PAUSE_SECONDS):
                await self._some.wait()
        except TimeoutError:
            pass
        self._some.clear()
        if await self._lease.hold(LEASE_SECONDS):
            await self.announce_all()

    async def announce_all(self) -> int:
        """Announces what there is, each order's moves in their order. Raises DependencyUnavailable."""
        announced = 0
        if self._clock() >= self._read_again_at:
            self._unreadable.clear()
            self._read_again_at = self._clock() + UNREADABLE_SECONDS
        while True:
            found = await self._moves.unannounced(AT_ONCE + len(self._unreadable))
            moves = [move for move in found if move not in self._unreadable]
            announced += await self._announce(moves)
            if len(moves) < AT_ONCE or not await self._lease.hold(LEASE_SECONDS):
                return announced

    async def _announce(self, moves: Sequence[tuple[str, OrderStatus]]) -> int:
        by_order: dict[str, list[OrderStatus]] = {}
        for order_id, to in moves:
            by_order.setdefault(order_id, []).append(to)
        records = await self._orders.get_many(list(by_order))
        confirmed: list[tuple[str, OrderStatus]] = []

        async def announce(order_id: str, record: OrderRecord | None) -> None:
            for to in by_order[order_id]:
                if record is None:  # it may be repaired
                    log.error("a move names an order that has no readable record", order_id=order_id)
                    self._unreadable.add((order_id, to))
                    continue
                event = move_event(record, to)
                if event is None:
                    log.error("a move has no record that tells of it", order_id=order_id, to=to.value)
                else:
                    await self._publisher.publish(message_of(event))
                confirmed.append((order_id, to))

        found = await asyncio.gather(*map(announce, by_order, records), return_exceptions=True)
        if confirmed:
            await self._moves.announced(confirmed)
        for error in found:
            if error is not None:
                raise error
        return len(confirmed)
