"""What use cases need of the store of orders; each takes the narrowest of these that will do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.messages import Event, OrderPlaced
from shared.orders.decisions import Decision
from shared.orders.model import OrderStatus, Payment, Trouble
from shared.orders.moves import Move, MoveResult
from shared.orders.placement import Acceptance, Placement
from shared.orders.records import OrderRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """A place in the list: just after this order. ``accepted_at`` in microseconds since the epoch."""

    accepted_at: int
    order_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPage:
    """Orders, newest first. ``next_cursor`` is None on the last page."""

    orders: Sequence[OrderRecord]
    next_cursor: Cursor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFilter:
    """Which orders a list is about: all that are not ruled out.

    ``unowned`` rules out those of customers; ``since`` and ``until`` bound the time of acceptance in
    microseconds since the epoch, the former included.
    """

    status: OrderStatus | None = None
    trouble: Trouble | None = None
    customer: str | None = None
    unowned: bool = False
    since: int | None = None
    until: int | None = None

    def admits(self, record: OrderRecord) -> bool:
        """Whether the list has this order."""
        at = record.accepted_at_microseconds
        return (
            self.status in (None, record.status)
            and self.trouble in (None, record.trouble)
            and self.customer in (None, record.customer)
            and not (self.unowned and record.customer)
            and (self.since is None or at >= self.since)
            and (self.until is None or at < self.until)
        )


class OrderStore(Protocol):
    """Accepts orders exactly once and reads them back. Every method raises StoreUnavailable."""

    async def accept(self, placement: Placement) -> Acceptance:
        """Claims the id, writes the record and the outbox entry, or none of them. Raises OutboxFull."""

    async def get(self, order_id: str) -> OrderRecord | None:
        """One order, or None where there is none that can be read."""

    async def get_many(self, order_ids: Sequence[str]) -> Sequence[OrderRecord | None]:
        """Several records in one round trip, in order."""


class Outbox(Protocol):
    """Orders that are accepted and not known to be in a queue. Every method raises StoreUnavailable."""

    async def remove(self, order_ids: Sequence[str]) -> None:
        """Drops orders whose message has been confirmed."""

    async def older_than(
        self, age_seconds: float, after_microseconds: int, limit: int
    ) -> Sequence[tuple[str, int]]:
        """Up to ``limit`` entries (id, time) accepted after that time and ``age_seconds`` ago or earlier."""


class Schedule(Protocol):
    """Orders that wait for their time. Methods raise StoreUnavailable."""

    async def take_up(self, limit: int) -> Sequence[str]:
        """Has orders begin whose time has come; those whose messages are to be published."""


class MoveStore(Protocol):
    """Moves orders on, and knows what is yet to be announced of that. Methods raise StoreUnavailable."""

    async def move(self, record: OrderRecord, move: Move) -> MoveResult:
        """Moves the order of this record, if it may be moved as it stands now."""

    async def unannounced(self, limit: int) -> Sequence[tuple[str, OrderStatus]]:
        """The oldest moves that are yet to be announced, in the order in which they were made."""

    async def announced(self, moves: Sequence[tuple[str, OrderStatus]]) -> None:
        """These were confirmed."""


class PaymentStore(Protocol):
    """Knows whose payment is due, and what became of it. Methods raise StoreUnavailable."""

    async def due(self, limit: int) -> Sequence[tuple[str, OrderRecord | None]]:
        """Orders about whose payment something is to be done by now, with records that can be read."""

    async def note(
        self,
        order_id: str,
        seen: OrderStatus | None,
        news: Payment | None = None,
        *,
        reason: str = "",
        is_settled: bool,
    ) -> None:
        """Where the payment stands by now, if there is news; ``is_settled`` says that nothing is left to be
        done while the order stands where it was ``seen``.
        """


class OrderReader(Protocol):
    """Reads orders. Every method raises StoreUnavailable."""

    async def get(self, order_id: str) -> OrderRecord | None:
        """One order, or None where there is none."""

    async def notification(self, order_id: str) -> Mapping[str, str]:
        """The fields of what is known of the order's latest notification, none where there is none yet."""

    async def get_many(self, order_ids: Sequence[str]) -> Sequence[OrderRecord | None]:
        """Several records in one round trip, in order."""

    async def list(self, wanted: OrderFilter, limit: int, after: Cursor | None) -> OrderPage:
        """Up to ``limit`` of the orders that are wanted after the cursor, newest first.

        Fewer where they are long ones, or lie far apart.
        """


class DecisionStore(Protocol):
    """Decides orders and remembers what it decided."""

    async def decide(self, placed: Sequence[Event[OrderPlaced]]) -> Sequence[Decision]:
        """One decision per event, in order, in one round trip.

        Deciding takes all of an order's stock or none, once; asking again returns the same decision.
        Raises StoreUnavailable, and then some of them may have been decided.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterStep:
    """What happens to an order because of its letter. ``unless_decided`` leaves decided orders alone.

    ``fingerprint`` tells the order from another one that was accepted under the same id.
    """

    order_id: str
    fingerprint: str
    step: str
    reason: str
    attempts: int
    unless_decided: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """How the order stood when the step was noted; ``mark`` is what it can be recognised by if nothing has
    happened to it since."""

    order_id: str
    trouble: Trouble | None
    mark: int


class OrderBooks(Protocol):
    """The orders behind dead letters. Every method may be repeated, and raises StoreUnavailable."""

    async def note(self, steps: Sequence[LetterStep]) -> Sequence[Noted]:
        """Adds the steps to the orders' timelines, each unless it is the last one there already."""

    async def revive(self, noted: Sequence[Noted]) -> None:
        """Dead orders whose message went back are retrying, unless something has happened to them since."""

    async def accepted(self, order_id: str) -> Event[OrderPlaced] | None:
        """What was placed, as the order's record has it; None where there is none that can be read."""

    async def drop(self, placed: Sequence[Event[OrderPlaced]]) -> Sequence[Decision]:
        """Rejects the orders as dropped. Those that are decided keep their decision, which is returned."""
