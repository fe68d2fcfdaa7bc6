"""What is done now and then: figures about what waits, and forgetting what is old."""

from typing import Final

from prometheus_client import CollectorRegistry, Gauge

from shared.messaging.waiting import repeating
from webhooks.endpoints import Clock
from webhooks.log import DeliveryLog
from webhooks.model import SECOND

MEASURE_SECONDS: Final = 5.0
SWEEP_SECONDS: Final = 60.0


class Housekeeping:
    """Any replica may do it at any time."""

    def __init__(self, deliveries: DeliveryLog, clock: Clock, registry: CollectorRegistry) -> None:
        self._deliveries = deliveries
        self._clock = clock
        self._pending = Gauge("webhooks_pending", "Deliveries that are to be attempted", registry=registry)
        self._late = Gauge(
            "webhooks_late_seconds",
            "Age of the first due delivery to a receiver that does not fail",
            registry=registry,
        )

    async def measure(self) -> None:
        """Keeps the figures, until cancelled."""
        await repeating(self.measure_once, MEASURE_SECONDS, what="measuring webhooks")

    async def measure_once(self) -> None:
        """Raises DatabaseUnavailable."""
        waiting = await self._deliveries.waiting()
        since = waiting.due_since
        self._pending.set(waiting.pending)
        self._late.set(0.0 if since is None else (self._clock() - since) / SECOND)

    async def sweep(self) -> None:
        """Forgets what is old, until cancelled."""
        await repeating(self.sweep_once, SWEEP_SECONDS, what="sweeping webhooks")

    async def sweep_once(self) -> None:
        """Raises DatabaseUnavailable."""
        while await self._deliveries.sweep():
            pass
