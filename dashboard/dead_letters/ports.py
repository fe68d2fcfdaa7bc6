"""What acting on dead letters needs of the store."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from shared.decisions import Created, Rejected
from shared.messages import Event, OrderPlaced


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
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
    happened to it since. ``status`` is None where there is no record of this order."""

    order_id: str
    status: str | None
    mark: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenRecord:
    """Why the order cannot be decided."""

    detail: str


@dataclass(frozen=True, slots=True)
class OtherOrder:
    """Another order was accepted under the same id: what becomes of it is no matter of this letter."""


class OrderBooks(Protocol):
    """The orders behind dead letters. Every method may be repeated, and raises StoreUnavailable."""

    async def note(self, steps: Sequence[Step]) -> Sequence[Noted]:
        """Adds the steps to the orders' timelines, each unless it is the last one there already."""

    async def revive(self, noted: Sequence[Noted]) -> None:
        """Dead orders whose message went back are retrying, unless something has happened to them since."""

    async def drop(
        self, placed: Sequence[Event[OrderPlaced]]
    ) -> Sequence[Created | Rejected | OtherOrder | BrokenRecord]:
        """Rejects the orders as dropped. Those that are decided keep their decision, which is returned."""


class Turns(Protocol):
    """Sees to it that one at a time looks at the dead letters, whichever process it is in."""

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Holds the turn for the block. Raises DeadLettersBusy when it did not come, and StoreUnavailable."""
