"""Erasing what the store holds of customers who are gone, once their orders have come to their end.

Their row is gone from SQL at once; a note stays until nothing is left. That takes as long as their last
access token held at least, since orders may come with it meanwhile.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Protocol

from accounts.store import UserStore
from shared.logs import get_logger
from shared.messaging.waiting import repeating

PAUSE_SECONDS: Final = 5.0
MARGIN: Final = timedelta(seconds=60)

log = get_logger(__name__)


class OrderErasure(Protocol):
    """The orders of customers."""

    async def erase(self, customer: str) -> bool:
        """Erases what may be erased by now; whether nothing is left. Raises StoreUnavailable."""

    async def forget(self, customer: str) -> None:
        """Erases the rest, once there will be no more orders. Raises StoreUnavailable."""


class Erasing:
    """Asks again and again until nothing is left."""

    def __init__(
        self,
        users: UserStore,
        orders: OrderErasure,
        *,
        token_seconds: float,
        clock: Callable[[], datetime],
    ) -> None:
        self._users = users
        self._orders = orders
        self._token = timedelta(seconds=token_seconds) + MARGIN
        self._clock = clock

    async def run(self) -> None:
        """Erases until cancelled, and waits where something that it needs is away."""
        await repeating(self.round, PAUSE_SECONDS, what="erasing")

    async def round(self) -> None:
        """Looks once at everyone who is gone. Raises DependencyUnavailable."""
        after = ""
        while gone := await self._users.to_be_erased(after):
            for user_id, asked_at in gone.items():
                is_done = await self._orders.erase(user_id)
                if is_done and self._clock() - asked_at > self._token:
                    await self._orders.forget(user_id)
                    await self._users.erased(user_id)
                    log.info("audit", action="user erased", user=user_id)
            after = max(gone)
