"""What the dashboard's routes need of the world behind them."""

from collections.abc import Sequence
from typing import Protocol

from dashboard.overview.state import Answer, BrokerState, Question, ServiceState, StoreState


class StoreReader(Protocol):
    """Reads what the services keep in the store. Every method raises StoreUnavailable, in time."""

    async def read(self) -> StoreState:
        """The figures of the whole pipeline."""

    async def counts(self) -> tuple[int, int]:
        """Orders that were decided and customers that were told, ever."""

    async def answer(self, question: Question) -> Answer:
        """What is known of one SKU and one order."""


class BrokerObserver(Protocol):
    """Knows how the brokers are."""

    def state(self) -> BrokerState:
        """What was seen last; never waits."""


class ServiceObserver(Protocol):
    """Knows how the services are, and the cache that they share."""

    def states(self) -> Sequence[ServiceState]:
        """What was seen last; never waits."""

    def cache_fault(self) -> str | None:
        """Why the cache cannot be used, or None."""
