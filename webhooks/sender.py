"""The loop that attempts what is due: so that one receiver, however slow, keeps no other waiting.

Of all attempts at one time each endpoint has a few, and each owner half at most, however many endpoints it
has. Those whose latest attempt failed, or was slow, have one each and share a quarter of the places, so that
others never wait behind them.
"""

import asyncio
import contextlib
from collections import Counter as Counts
from collections.abc import Awaitable, Mapping, Sequence
from typing import Final, Protocol

from shared.errors import DatabaseUnavailable
from shared.failpoints import failpoint
from shared.logs import get_logger
from shared.messaging.waiting import waiting_out
from shared.webhooks.schemas import DeliveryStatus
from webhooks.figures import WebhookFigures
from webhooks.model import ClaimedDelivery, DeliveryAttempt, DueEndpoint

PAUSE_SECONDS: Final = 0.25
MOST_REMEMBERED: Final = 10_000
"""Endpoints that failed or were slow, beyond which those are forgotten that have nothing due."""
SLOW_MILLISECONDS: Final = 2_000
LAGGING_SHARE: Final = 4
"""Every which place those have together that failed or were slow."""
OWNER_SHARE: Final = 2
"""Every which place one owner has at most."""

log = get_logger(__name__)


class DueDeliveries(Protocol):
    """Where deliveries wait for their turn. Methods raise DatabaseUnavailable."""

    async def endpoints_due(self) -> Mapping[str, DueEndpoint]:
        """Endpoints for which there is something to attempt, by id."""

    async def claim(self, shares: Mapping[str, int]) -> Sequence[ClaimedDelivery]:
        """Up to so many deliveries of each."""


class Outcomes(Protocol):
    """Where attempts are noted."""

    async def settle(self, claimed: ClaimedDelivery, attempt: DeliveryAttempt) -> DeliveryStatus:
        """Raises DatabaseUnavailable."""


class Receivers(Protocol):
    """The way to receivers."""

    def post(self, claimed: ClaimedDelivery) -> Awaitable[DeliveryAttempt]:
        """Attempts one."""


class WebhookSender:
    """Attempts deliveries, ``at_once`` of them and ``per_endpoint`` of one endpoint at the same time."""

    def __init__(
        self,
        deliveries: DueDeliveries,
        outcomes: Outcomes,
        receivers: Receivers,
        figures: WebhookFigures,
        *,
        at_once: int,
        per_endpoint: int,
    ) -> None:
        self._deliveries = deliveries
        self._outcomes = outcomes
        self._receivers = receivers
        self._figures = figures
        self._at_once = at_once
        self._lagging_at_once = max(1, at_once // LAGGING_SHARE)
        self._per_endpoint = per_endpoint
        self._running: Counts[str] = Counts()
        self._lagging: set[str] = set()
        self._owner_at_once = max(1, at_once // OWNER_SHARE)
        self._owners: dict[str, str] = {}
        """Of those that run."""
        self._last = ""
        self._something = asyncio.Event()

    def wake(self) -> None:
        """There may be something to attempt."""
        self._something.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Attempts until ``stop`` is set, then ends what was begun."""
        stopping = asyncio.ensure_future(stop.wait())
        try:
            async with asyncio.TaskGroup() as attempts:
                while not stop.is_set():
                    self._something.clear()
                    with contextlib.suppress(DatabaseUnavailable):  # readiness says so
                        await self.begin(attempts)
                    woken = asyncio.ensure_future(self._something.wait())
                    await asyncio.wait(
                        {woken, stopping}, timeout=PAUSE_SECONDS, return_when=asyncio.FIRST_COMPLETED
                    )
                    woken.cancel()
        finally:
            stopping.cancel()

    async def begin(self, attempts: asyncio.TaskGroup) -> int:
        """Begins what is due, as far as there are places, as tasks; how many. Raises DatabaseUnavailable."""
        due = await self._deliveries.endpoints_due()
        shares = self._shares(due)
        claims = await self._deliveries.claim(shares) if shares else ()
        for claimed in claims:
            self._running[claimed.endpoint_id] += 1
            self._owners[claimed.endpoint_id] = due[claimed.endpoint_id].owner
            attempts.create_task(self._attempt(claimed))
        return len(claims)

    def _shares(self, due: Mapping[str, DueEndpoint]) -> Mapping[str, int]:
        """How many each may begin, in turns: the one that comes first is the one after the last."""
        self._lagging |= {each for each, endpoint in due.items() if endpoint.is_failing}
        if len(self._lagging) > MOST_REMEMBERED:
            self._lagging &= due.keys() | self._running.keys()
        of_owner: Counts[str] = Counts()
        for each, count in self._running.items():
            of_owner[self._owners[each]] += count
        lagging_running = sum(count for each, count in self._running.items() if each in self._lagging)
        left = {
            True: self._lagging_at_once - lagging_running,
            False: self._at_once - self._lagging_at_once - self._running.total() + lagging_running,
        }
        shares: dict[str, int] = {}
        for each in sorted(due, key=lambda each: (each <= self._last, each)):
            is_lagging = each in self._lagging
            own = (1 if is_lagging else self._per_endpoint) - self._running[each]
            share = min(own, left[is_lagging], self._owner_at_once - of_owner[due[each].owner])
            if share > 0:
                shares[each] = share
                left[is_lagging] -= share
                of_owner[due[each].owner] += share
                self._last = each
        return shares

    async def _attempt(self, claimed: ClaimedDelivery) -> None:
        try:
            attempt = await self._receivers.post(claimed)
            failpoint("between_send_and_mark")
            is_lagging = not attempt.is_success or attempt.milliseconds >= SLOW_MILLISECONDS
            (self._lagging.add if is_lagging else self._lagging.discard)(claimed.endpoint_id)
            outcome = await waiting_out(lambda: self._outcomes.settle(claimed, attempt))
            self._figures.attempts.labels(outcome).inc()
            log.info(
                "webhook attempted",
                endpoint=claimed.endpoint_id,
                sequence=claimed.sequence,
                status=attempt.status,
                milliseconds=attempt.milliseconds,
                delivery=outcome,
            )
        finally:
            self._running[claimed.endpoint_id] -= 1
            if not self._running[claimed.endpoint_id]:
                del self._running[claimed.endpoint_id], self._owners[claimed.endpoint_id]
            self.wake()
