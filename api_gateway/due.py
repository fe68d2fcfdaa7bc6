"""Takes up scheduled orders whose time has come, and publishes them at once.

Every gateway does that a broker is likely to answer, without a lease: the script lets one of them take up an
order. What that one does not publish lies in the outbox, where the relay finds it.
"""

from collections.abc import Callable
from typing import Final

from api_gateway.relay import Relay
from shared.logs import get_logger
from shared.messaging.waiting import repeating
from shared.orders.ports import Schedule

PAUSE_SECONDS: Final = 0.5
AT_ONCE: Final = 256

log = get_logger(__name__)


class DueOrders:
    """Scheduled orders, on their way once they are due."""

    def __init__(self, schedule: Schedule, relay: Relay, can_publish: Callable[[], bool]) -> None:
        self._can_publish = can_publish
        self._schedule = schedule
        self._relay = relay

    async def run(self) -> None:
        """Takes up what is due, again and again, until cancelled."""
        await repeating(self.take_up, PAUSE_SECONDS, what="taking up scheduled orders")

    async def take_up(self) -> int:
        """Takes up all that is due now; returns how many. Raises DependencyUnavailable."""
        taken = 0
        while self._can_publish() and (found := await self._schedule.take_up(AT_ONCE)):
            taken += len(found)
            await self._relay.publish(found)
        if taken:
            log.info("scheduled orders have begun", count=taken)
        return taken
