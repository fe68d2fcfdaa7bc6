"""The receiving end: what arrived at the customers, and whether the notifier could have known.

An arrival that the notifier could not know of is excused: it died before it could write it down, its lease
was over before it was marked, or the mail server took it and did not say so. Any other second arrival is a
fault, and so is a third that was not answered, and one notification more that waits to be marked than its
channel allows.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from notifier.domain import Notification
from notifier.ports import HandedOver, OutcomeUnknown
from shared.errors import PermanentError, RetryableError, SenderUnavailable
from shared.orders.model import OrderStatus
from shared.orders.moves import ANNOUNCED
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
TYPES: Final = tuple(ANNOUNCED[status] for status in OrderStatus if status in ANNOUNCED)
"""Of events, in the order in which one order can meet them."""
UNANSWERED: Final = "unanswered"
MOST_UNANSWERED: Final = 2


@dataclass(slots=True, kw_only=True)
class Arrival:
    """One notification at its customer. ``excuse`` says why the notifier may not know of it.

    ``is_noted`` says that the store has it as unconfirmed.
    """

    sender: str
    letter: str
    channel: str
    leased_until: float
    excuse: str = ""
    is_noted: bool = False


class Customers:
    """Everything that has arrived, and what the store was told about it.

    ``leases_may_end`` says whether anything in this simulation can keep a notifier from marking in time,
    ``most_unmarked`` how many letters or lines one may have out by then, by channel.
    """

    def __init__(self, *, leases_may_end: bool, most_unmarked: Mapping[str, int]) -> None:
        self._most_unmarked = most_unmarked
        self._found: list[str] = []
        self.arrivals: defaultdict[str, list[Arrival]] = defaultdict(list)
        self.totals: defaultdict[str, set[str]] = defaultdict(set)
        """What letters and lines named as the total, by event id."""
        self.is_away = False
        self._letters: defaultdict[str | None, list[tuple[float, str]]] = defaultdict(list)
        self._leases_may_end = leases_may_end
        self._leases: dict[tuple[str, str], float] = {}
        self._marked: set[str] = set()
        self._declining: set[str] = set()
        self._settled: set[str] = set()

    def chose(self, customer: str, *, declines_mail: bool) -> None:
        """A customer wants no mail, or wants it, from now on."""
        (self._declining.add if declines_mail else self._declining.discard)(customer)

    def declined(self, event_id: str, customer: str | None) -> None:
        """The store says that the customer of an event wants no mail."""
        if customer not in self._declining:
            self._found.append(f"{event_id} counts as declined by {customer}, who wants mail")

    def settled(self, event_id: str) -> None:
        """The store knows that the event was declined: it is told to no one from now on."""
        self._settled.add(event_id)

    def claimed(self, event_id: str, by: str, customer: str | None, at: float) -> None:
        """The store has granted a lease on an event, to a process. Its customer wants mail just then, no
        later step was told before, and what was declined is over."""
        if customer in self._declining:
            self._found.append(f"{event_id} is to be told to {customer}, who wants no mail")
        if event_id in self._settled:
            self._found.append(f"{event_id} is to be told after it was declined")
        order_id, _, kind = event_id.partition(":")
        later = TYPES[TYPES.index(kind) + 1 :]
        if any(f"{order_id}:{each}" in self._marked for each in later) and event_id not in self._marked:
            self._found.append(f"{event_id} is to be told after a later step was")
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

    def arrive(self, event_id: str, by: str, letter: str, channel: str, at: float, excuse: str) -> Arrival:
        """A customer is told."""
        leased_until = self._leases.get((event_id, by), 0.0)
        if not leased_until:
            self._found.append(f"{by} told of {event_id}, which it never claimed")
        if self._leases_may_end and leased_until <= at:
            excuse = "lease over"
        arrival = Arrival(sender=by, letter=letter, channel=channel, leased_until=leased_until, excuse=excuse)
        self.arrivals[event_id].append(arrival)
        unmarked = self._unmarked(by, channel)
        if len(unmarked) > self._most_unmarked[channel]:
            self._found.append(f"{by} left {sorted(unmarked)} unmarked on {channel}")
        return arrival

    def _unmarked(self, by: str, channel: str) -> set[str]:
        """What a sender has told and nothing else accounts for: its death would repeat all of them."""
        return {
            arrival.letter
            for event_id, arrivals in self.arrivals.items()
            for arrival in arrivals
            if event_id not in self._marked
            and (arrival.sender, arrival.channel) == (by, channel)
            and not (arrival.excuse or arrival.is_noted)
        }

    def sender_died(self, name: str) -> None:
        """Whatever it had sent and not marked, nobody knows of."""
        for event_id, arrivals in self.arrivals.items():
            for arrival in arrivals:
                if arrival.sender == name and event_id not in self._marked and not arrival.is_noted:
                    arrival.excuse = "sender died"

    def told(self) -> Mapping[str, Mapping[str, int]]:
        """How often each event was told by channel, excused arrivals left out where there are others."""
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for event_id, arrivals in self.arrivals.items():
            for arrival in [each for each in arrivals if not each.excuse] or arrivals[:1]:
                counts[arrival.channel][event_id] += 1
        return counts

    def sent(self, recipient: str | None, letter_id: str, at: float) -> None:
        """A letter is handed in. One about collected orders is the same when others have joined it since."""
        self._letters[recipient].append((at, letter_id.removesuffix(".collected")))

    def faults(self, letters_per_hour: int) -> Iterator[str]:
        """Customers who got more letters than unanswered ones account for, or than an hour allows."""
        yield from self._found
        for recipient, letters in self._letters.items():
            for since, _ in letters if recipient else ():
                ids = {letter_id for at, letter_id in letters if since <= at < since + SURELY_AN_HOUR}
                if len(ids) > letters_per_hour:
                    yield f"{len(ids)} letters to {recipient} from {since:.0f} s on"
        for event_id, arrivals in self.arrivals.items():
            unanswered = sum(arrival.excuse == UNANSWERED for arrival in arrivals)
            if unanswered > MOST_UNANSWERED:
                yield f"{event_id} was told by {unanswered} letters that were not answered"


class SimulatedLog:
    """One notifier's log. A line may be out at once, and is at the latest when it is flushed."""

    channel = "log"

    def __init__(self, customers: Customers, process: Process, weather: Weather, trace: Trace) -> None:
        self._customers = customers
        self._process = process
        self._weather = weather
        self._trace = trace
        self._lines: list[Notification] = []

    def channel_for(self, notification: Notification) -> str:
        return self.channel

    async def send(self, notification: Notification) -> HandedOver | None:
        """Other channels of this kind are slow and may fail, so this one does."""
        await asyncio.sleep(self._weather.way())
        if self._customers.is_away:
            raise SenderUnavailable("the way is shut")
        if self._weather.happens("send_refused"):
            raise RetryableError("try again later")
        if self._weather.dice.random() < 0.5:
            self._arrive(notification, "")
        else:
            self._lines.append(notification)
        return None

    async def flush(self) -> None:
        if self._lines:
            await asyncio.sleep(self._weather.way())
        lines, self._lines = self._lines, []
        for notification in lines:
            self._arrive(notification, "")

    def _arrive(self, notification: Notification, excuse: str) -> None:
        at = asyncio.get_running_loop().time()
        for part in notification.parts or (notification,):
            arrival = self._customers.arrive(
                part.id, self._process.name, notification.id, self.channel, at, excuse
            )
            self._customers.totals[part.id].add(part.total)
            self._trace.note(f"customer told of {part.id} {arrival.excuse}")


class SimulatedMail(SimulatedLog):
    """One notifier's way to the customers who left an address."""

    channel = "smtp"

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
