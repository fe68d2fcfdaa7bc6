"""What the processor's handlers need of the store."""

from collections.abc import Sequence
from typing import Protocol

from order_processor.domain import Decision
from shared.messages import Event, OrderPlaced


class DecisionStore(Protocol):
    """Decides orders and remembers what it decided."""

    async def decide(self, placed: Sequence[Event[OrderPlaced]]) -> Sequence[Decision]:
        """One decision per event, in order, in one round trip.

        Deciding takes all of an order's stock or none, once; asking again returns the same decision.
        Raises StoreUnavailable, and then some of them may have been decided.
        """
