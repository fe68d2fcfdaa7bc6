"""Moves of orders: made by one script, and announced from the outbox that it writes.

One gateway at a time announces, under a lease, soon after a move and again and again until it is confirmed.
A move that is announced twice is the same event.
"""

import asyncio
from collections.abc import Sequence
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

log = get_logger(__name__)


class AnnouncedMoves:
    """Makes moves and sees to their announcement."""

    def __init__(self, moves: MoveStore, orders: OrderStore, publisher: Publisher, lease: Lease) -> None:
        self._moves = moves
        self._orders = orders
        self._publisher = publisher
        self._lease = lease
        self._some = asyncio.Event()

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
        while moves := await self._moves.unannounced(AT_ONCE):
            announced += await self._announce(moves)
            if len(moves) < AT_ONCE or not await self._lease.hold(LEASE_SECONDS):
                break
        return announced

    async def _announce(self, moves: Sequence[tuple[str, OrderStatus]]) -> int:
        by_order: dict[str, list[OrderStatus]] = {}
        for order_id, to in moves:
            by_order.setdefault(order_id, []).append(to)
        records = await self._orders.get_many(list(by_order))
        confirmed: list[tuple[str, OrderStatus]] = []

        async def announce(order_id: str, record: OrderRecord | None) -> None:
            for to in by_order[order_id]:
                event = None if record is None else move_event(record, to)
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
