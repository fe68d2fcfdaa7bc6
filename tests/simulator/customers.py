"""The receiving end: what arrived at the customers, and whether the notifier could have known.

An arrival that the notifier could not know of is excused: it died before it could write it down, its lease
was over before it was marked, or the mail server took it and did not say so. Any other second arrival is a
fault, and so is a third that was not answered.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from notifier.domain import Notification
from notifier.ports import HandedOver, OutcomeUnknown
from shared.errors import PermanentError, RetryableError, SenderUnavailable
from tests.simulator.network import Network
from tests.simulator.processes import Process
from tests.simulator.trace import Trace
from tests.simulator.weather import Weather

ANSWER_SECONDS: Final = 10.0
CONFIRM_SECONDS: Final = 40.0
LEASE_SECONDS: Final = 15.0
UNKNOWN_MAILBOX: Final = "nobody@example.com"
"""The customer who lives here cannot be told anything, today or tomorrow."""
HOUR_SECONDS: Final = 300.0
"""In the place of an hour, for the bound on letters to one address."""
SURELY_AN_HOUR: Final = HOUR_SECONDS - 60.0
"""So long before another a letter was handed in whose place was taken within the same hour."""
UNANSWERED: Final = "unanswered"
MOST_UNANSWERED: Final = 2


@dataclass(slots=True, kw_only=True)
class Arrival:
    """One notification at its customer. ``excuse`` says why the notifier may not know of it.

    ``is_noted`` says that the store has it as unconfirmed.
    """

    sender: str
    leased_until: float
    excuse: str = ""
    is_noted: bool = False


class Customers:
    """Everything that has arrived, and what the store was told about it.

    ``leases_may_end`` says whether anything in this simulation can keep a notifier from marking in time.
    """

    def __init__(self, *, leases_may_end: bool) -> None:
        self.arrivals: defaultdict[str, list[Arrival]] = defaultdict(list)
        self.is_away = False
        self._letters: defaultdict[str | None, list[tuple[float, str]]] = defaultdict(list)
        self._leases_may_end = leases_may_end
        self._leases: dict[tuple[str, str], float] = {}
        self._marked: set[str] = set()

    def claimed(self, event_id: str, by: str, at: float) -> None:
        """The store has granted a lease on an event, to a process."""
        self._leases[event_id, by] = at + LEASE_SECONDS
        if self._leases_may_end and event_id not in self._marked:
            for arrival in self.arrivals.get(event_id, ()):
                if arrival.leased_until <= at and not arrival.is_noted:
                    arrival.excuse = "not marked in time"

    def noted(self, event_id: str, by: str) -> None:
        """The store knows that a process has sent a letter about the event which is not answered yet."""
        for arrival in self.arrivals.get(event_id, ()):
            if arrival.sender == by:
                arrival.is_noted, arrival.excuse = True, UNANSWERED

    def marked(self, event_id: str) -> None:
        """The store knows that the event was told."""
        self._marked.add(event_id)
        arrivals = self.arrivals.get(event_id, [])
        if len(arrivals) == 1:
            arrivals[0].excuse = ""

    def arrive(self, event_id: str, by: str, at: float, excuse: str) -> Arrival:
        """A customer is told."""
        leased_until = self._leases.get((event_id, by), 0.0)
        if self._leases_may_end and leased_until <= at:
            excuse = "lease over"
        arrival = Arrival(sender=by, leased_until=leased_until, excuse=excuse)
        self.arrivals[event_id].append(arrival)
        return arrival

    def sender_died(self, name: str) -> None:
        """Whatever it had sent and not marked, nobody knows of."""
        for event_id, arrivals in self.arrivals.items():
            for arrival in arrivals:
                if arrival.sender == name and event_id not in self._marked and not arrival.is_noted:
                    arrival.excuse = "sender died"

    def told(self, event_id: str) -> int:
        """How often the event was told, excused arrivals left out where there are others."""
        arrivals = self.arrivals.get(event_id, [])
        return sum(not arrival.excuse for arrival in arrivals) or min(len(arrivals), 1)

    def sent(self, recipient: str | None, letter_id: str, at: float) -> None:
        """A letter is handed in."""
        self._letters[recipient].append((at, letter_id))

    def faults(self, letters_per_hour: int) -> Iterator[str]:
        """Customers who got more letters than unanswered ones account for, or than an hour allows."""
        for recipient, letters in self._letters.items():
            for since, _ in letters if recipient else ():
                ids = {letter_id for at, letter_id in letters if since <= at < since + SURELY_AN_HOUR}
                if len(ids) > letters_per_hour:
                    yield f"{len(ids)} letters to {recipient} from {since:.0f} s on"
        for event_id, arrivals in self.arrivals.items():
            unanswered = sum(arrival.excuse == UNANSWERED for arrival in arrivals)
            if unanswered > MOST_UNANSWERED:
                yield f"{event_id} was told by {unanswered} letters that were not answered"


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
        return "simulated"

    async def send(self, notification: Notification) -> HandedOver:
        await asyncio.sleep(self._weather.sending_seconds())
        if self._customers.is_away:
            raise SenderUnavailable("the mail server is away")
        if notification.recipient == UNKNOWN_MAILBOX:
            raise PermanentError("no such mailbox")
        if self._weather.happens("send_refused"):
            raise RetryableError("try again later")
        at = asyncio.get_running_loop().time()
        self._customers.sent(notification.recipient, notification.id, at)
        is_clear = not self._weather.happens("send_unclear")
        answer = self._answered(notification) if is_clear else self._answered_unclearly(notification)
        return HandedOver(message_id=f"<{notification.id}>", answer=asyncio.ensure_future(answer))

    async def _answered(self, notification: Notification) -> None:
        self._arrive(notification, "")
        await asyncio.sleep(self._weather.way())

    async def _answered_unclearly(self, notification: Notification) -> None:
        """It arrives or does not, and that is said late, never, or something else is."""
        dice = self._weather.dice
        fate = dice.choice(("late", "late", "refused late", "silence", "hangs up", "lost"))
        if fate not in ("refused late", "lost"):
            self._arrive(notification, UNANSWERED)
        if fate in ("late", "refused late"):
            await asyncio.sleep(ANSWER_SECONDS * dice.uniform(0.5, 3.5))
        if fate == "silence":
            await asyncio.sleep(CONFIRM_SECONDS)
        if fate == "refused late":
            raise RetryableError("refused after a long time")
        if fate != "late":
            raise OutcomeUnknown("no answer")

    def _arrive(self, notification: Notification, excuse: str) -> None:
        at = asyncio.get_running_loop().time()
        for part in notification.parts or (notification,):
            arrival = self._customers.arrive(part.id, self._process.name, at, excuse)
            self._trace.note(f"customer told of {part.id} {arrival.excuse}")
