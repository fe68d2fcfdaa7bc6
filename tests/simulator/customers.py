"""The receiving end: what arrived at the customers, and whether the notifier could have known.

An arrival that the notifier could not know of is excused: it died before it could write it down, the mail
server took it and did not say so, or its lease was over before it was marked. Any other second arrival is
a fault.
"""

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from notifier.domain import Notification
from shared.errors import PermanentError, RetryableError, SenderUnavailable
from tests.simulator.network import Network
from tests.simulator.processes import Process
from tests.simulator.trace import Trace
from tests.simulator.weather import Weather

SEND_SECONDS: Final = 10.0
LEASE_SECONDS: Final = 15.0
UNKNOWN_MAILBOX: Final = "nobody@example.com"
"""Whoever lives here cannot be told anything, today or tomorrow."""


@dataclass(slots=True, kw_only=True)
class Arrival:
    """One notification at its customer. ``excuse`` says why the notifier may not know of it."""

    sender: str
    leased_until: float
    excuse: str = ""


class Customers:
    """Everything that has arrived, and what the store was told about it.

    ``leases_may_end`` says whether anything in this simulation can keep a notifier from marking in time.
    """

    def __init__(self, *, leases_may_end: bool) -> None:
        self.arrivals: defaultdict[str, list[Arrival]] = defaultdict(list)
        self.is_away = False
        self._leases_may_end = leases_may_end
        self._leases: dict[tuple[str, str], float] = {}
        self._marked: set[str] = set()

    def claimed(self, event_id: str, by: str, at: float) -> None:
        """The store has granted a lease on an event, to a process."""
        self._leases[event_id, by] = at + LEASE_SECONDS
        if self._leases_may_end and event_id not in self._marked:
            for arrival in self.arrivals.get(event_id, ()):
                if arrival.leased_until <= at:
                    arrival.excuse = arrival.excuse or "not marked in time"

    def marked(self, event_id: str) -> None:
        """The store knows that the event was told."""
        self._marked.add(event_id)

    def arrive(self, event_id: str, by: str, at: float, excuse: str) -> Arrival:
        """A customer is told."""
        leased_until = self._leases.get((event_id, by), 0.0)
        if self._leases_may_end and leased_until <= at:
            excuse = excuse or "lease over"
        arrival = Arrival(sender=by, leased_until=leased_until, excuse=excuse)
        self.arrivals[event_id].append(arrival)
        return arrival

    def sender_died(self, name: str) -> None:
        """Whatever it had sent and not marked, nobody knows of."""
        for event_id, arrivals in self.arrivals.items():
            for arrival in arrivals:
                if arrival.sender == name and event_id not in self._marked:
                    arrival.excuse = arrival.excuse or "sender died"

    def told(self, event_id: str) -> int:
        """How often the event was told, excused arrivals left out where there are others."""
        arrivals = self.arrivals.get(event_id, [])
        return sum(not arrival.excuse for arrival in arrivals) or min(len(arrivals), 1)


class SimulatedSender:
    """One notifier's way to the customers."""

    def __init__(
        self, customers: Customers, process: Process, network: Network, weather: Weather, trace: Trace
    ) -> None:
        self._customers = customers
        self._process = process
        self._network = network
        self._weather = weather
        self._trace = trace

    def channel_for(self, notification: Notification) -> str:
        """See the port."""
        return "simulated"

    async def send(self, notification: Notification) -> None:
        """See the port."""
        await asyncio.sleep(self._weather.sending_seconds())
        if self._customers.is_away:
            raise SenderUnavailable("the mail server is away")
        if notification.recipient == UNKNOWN_MAILBOX:
            raise PermanentError("no such mailbox")
        if self._weather.happens("send_refused"):
            raise RetryableError("try again later")
        if self._weather.happens("send_unclear"):
            await self._end_unclear(notification)
        self._arrive(notification, "")
        await asyncio.sleep(self._weather.way())

    async def _end_unclear(self, notification: Notification) -> None:
        """It arrives, now or later, and the notifier is told something else or nothing."""
        if self._weather.dice.random() < 0.5:
            self._arrive(notification, "answer lost")
            raise RetryableError("connection lost")
        self._network.under_way += 1
        self._network.spawn(self._arrive_late(notification))
        await asyncio.sleep(2 * SEND_SECONDS)
        raise RetryableError("no answer")

    async def _arrive_late(self, notification: Notification) -> None:
        await asyncio.sleep(SEND_SECONDS * self._weather.dice.uniform(0.5, 1.5))
        self._arrive(notification, "arrived late")
        self._network.under_way -= 1

    def _arrive(self, notification: Notification, excuse: str) -> None:
        at = asyncio.get_running_loop().time()
        arrival = self._customers.arrive(notification.id, self._process.name, at, excuse)
        self._trace.note(f"customer told of {notification.id} {arrival.excuse}")
