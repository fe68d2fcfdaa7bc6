"""What is done now and then: figures, forgetting what is old, and what follows when endpoints go."""

from collections.abc import Collection
from typing import Final, Protocol

from shared.messaging.waiting import repeating
from webhooks.endpoints import Clock, EndpointStore
from webhooks.figures import WebhookFigures
from webhooks.log import DeliveryLog
from webhooks.model import SECOND, owner_of

MEASURE_SECONDS: Final = 5.0
SWEEP_SECONDS: Final = 60.0
FOLLOW_SECONDS: Final = 5.0


class GoneCustomers(Protocol):
    """Customers who are gone. Methods raise StoreUnavailable."""

    async def gone(self) -> Collection[str]:
        """Those whose webhooks are to go."""

    async def forget(self, customers: Collection[str]) -> None:
        """Their webhooks are gone."""


class Housekeeping:
    """Any replica may do it at any time."""

    def __init__(
        self,
        endpoints: EndpointStore,
        deliveries: DeliveryLog,
        customers: GoneCustomers,
        clock: Clock,
        figures: WebhookFigures,
    ) -> None:
        self._endpoints = endpoints
        self._deliveries = deliveries
        self._customers = customers
        self._clock = clock
        self._figures = figures

    async def measure(self) -> None:
        """Keeps the figures, until cancelled."""
        await repeating(self.measure_once, MEASURE_SECONDS, what="measuring webhooks")

    async def measure_once(self) -> None:
        """Raises DatabaseUnavailable."""
        waiting = await self._deliveries.waiting()
        since = waiting.due_since
        self._figures.pending.set(waiting.pending)
        self._figures.late.set(0.0 if since is None else (self._clock() - since) / SECOND)

    async def sweep(self) -> None:
        """Forgets what is old, until cancelled."""
        await repeating(self.sweep_once, SWEEP_SECONDS, what="sweeping webhooks")

    async def sweep_once(self) -> None:
        """Raises DatabaseUnavailable."""
        while await self._deliveries.sweep():
            pass

    async def follow(self) -> None:
        """Removes the webhooks of customers who are gone, and fails what waits for disabled ones, until
        cancelled.
        """
        await repeating(self.follow_once, FOLLOW_SECONDS, what="looking after webhooks")

    async def follow_once(self) -> None:
        """Raises DependencyUnavailable."""
        if gone := await self._customers.gone():
            await self._endpoints.forget_owners([owner_of(customer) for customer in gone])
            await self._customers.forget(gone)
        while await self._deliveries.fail_disabled():
            pass
