"""Keeps asking the brokers how they are, so that a page never waits for one that hangs."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime

from dashboard.overview.brokers import Knowledge, judge_nodes, queue_states, silence, with_letters
from dashboard.overview.state import BrokerState
from shared.errors import BrokerUnavailable
from shared.logs import get_logger
from shared.messaging.dead_letters import DeadLetterCount
from shared.messaging.rabbitmq.management import Management
from shared.pipeline import CONSUMPTIONS

log = get_logger(__name__)


class BrokerWatch:
    """Remembers what was seen last, and when; of dead letters, how many ``letters`` counts."""

    def __init__(
        self,
        management: Management,
        *,
        letters: DeadLetterCount | None = None,
        pause_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._management = management
        self._letters = letters
        self._counted: Mapping[str, int] = {}
        self._pause_seconds = pause_seconds
        self._monotonic = monotonic
        self._now = now
        self._known = Knowledge.nothing()
        self._observed_at: datetime | None = None
        self._observed_monotonic = 0.0

    def state(self) -> BrokerState:
        seen = self._observed_at is not None
        return BrokerState(
            nodes=judge_nodes(self._known),
            queues=with_letters(queue_states(self._known), self._counted),
            observed_at=self._observed_at,
            age_seconds=self._monotonic() - self._observed_monotonic if seen else None,
            silence=silence(self._known),
            members_needed=self._known.members_needed,
        )

    def unready_reason(self) -> str | None:
        """Why nothing can be said of the brokers yet, not even that nobody answers; else None."""
        return None if self._known.probes else "not asked yet"

    async def run(self) -> None:
        """Asks again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._pause_seconds)

    async def run_letters(self) -> None:
        """Counts dead letters again and again, until cancelled."""
        while True:
            await self.count()
            await asyncio.sleep(self._pause_seconds)

    async def count(self) -> None:
        """The dead letters of each queue, where they can be counted now."""
        counted = {}
        for queue in (each.dead_queue for each in CONSUMPTIONS):
            with suppress(BrokerUnavailable):
                counted[queue] = await self._letters.waiting(queue) if self._letters else None
        self._counted = {queue: count for queue, count in counted.items() if count is not None}

    async def look(self) -> None:
        """One round."""
        before = {node.node: node.status for node in judge_nodes(self._known)}
        seen = await self._management.observe()
        self._known = self._known.after(seen)
        if seen.nodes is not None and seen.queues is not None:
            self._observed_at, self._observed_monotonic = self._now(), self._monotonic()
        for node in judge_nodes(self._known):
            if before.get(node.node) != node.status:
                log.info("broker node", node=node.node, state=node.status.value)
