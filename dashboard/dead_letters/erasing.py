"""Removing the dead letters about orders whose customer was erased: they have the address, and may quote it.

They are looked for when their order was erased, and once more when its other messages have come to their end:
one that waits in a retry tier then comes back and is passed over, but one that its consumer had in hand at
that moment may yet have been dead-lettered.
"""

from typing import Final

from dashboard.dead_letters.actions import Action
from dashboard.dead_letters.desk import DeadLetterDesk, Errand
from dashboard.dead_letters.letter import Wanted
from dashboard.dead_letters.ports import ErasedOrders
from shared.messaging.waiting import repeating
from shared.pipeline import RETRY_TIERS_SECONDS

PAUSE_SECONDS: Final = 30.0
IN_HAND_SECONDS: Final = 2.0 * RETRY_TIERS_SECONDS[-1]
"""After it no consumer has a message in hand that it had when the order was erased."""


class ErasedLetters:
    """Looks again and again at which orders were erased, and into the dead letters where there are such."""

    def __init__(self, desk: DeadLetterDesk, orders: ErasedOrders, erase: Action) -> None:
        self._desk = desk
        self._orders = orders
        self._erase = erase
        self._looked_for: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Until cancelled."""
        await repeating(self.round, PAUSE_SECONDS, what="erasing dead letters")

    async def round(self) -> None:
        """Raises DependencyUnavailable. What could not be seen or removed is looked for again."""
        ages = await self._orders.ages()
        last = [content for content, age in ages.items() if age >= IN_HAND_SECONDS]
        if not last and self._looked_for.issuperset(ages):
            return
        wanted = Wanted(contents=ages.keys())
        tally = await self._desk.act(Errand(action=self._erase, wanted=wanted, client="accounts"))
        if not tally.complete or tally.fault is not None:
            return
        self._looked_for = frozenset(ages)
        if last:
            await self._orders.forget(last)
