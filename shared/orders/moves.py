"""Moves that operators and customers make: on to an order's delivery, or to an early end. No I/O.

What an order may become stands in the table of :mod:`shared.orders.model`. A move is announced from the
record, so that it is the same event however often it is published.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.messages import (
    Event,
    EventData,
    OrderCancelled,
    OrderDelivered,
    OrderPlaced,
    OrderProcessing,
    OrderShipped,
    step_name,
)
from shared.orders import decisions
from shared.orders.model import MOVES, NEEDS_PAYMENT, OrderStatus, Payment
from shared.orders.records import SOURCE, OrderRecord

_EVENTS: Final[Mapping[OrderStatus, type[OrderProcessing | OrderShipped | OrderDelivered]]] = {
    OrderStatus.PROCESSING: OrderProcessing,
    OrderStatus.SHIPPED: OrderShipped,
    OrderStatus.DELIVERED: OrderDelivered,
}
EVENT_TYPES: Final = {
    **{status: step_name(data) for status, data in _EVENTS.items()},
    OrderStatus.CANCELLED: step_name(OrderCancelled),
}
"""What announces each of these moves; its keys are all that can be asked for."""
ANNOUNCED: Final = {**decisions.EVENT_TYPES, **EVENT_TYPES}
"""The type of the event that announces each step of an order, as ids have it."""
STEP_EVENTS: Final = {OrderStatus.ACCEPTED: step_name(OrderPlaced), **ANNOUNCED}
"""The same, with the event that asks for the decision."""
_ON: Final = (OrderStatus.PROCESSING, OrderStatus.SHIPPED, OrderStatus.DELIVERED)
TOLD: Final = frozenset((OrderStatus.SHIPPED, OrderStatus.DELIVERED, OrderStatus.CANCELLED))
"""The moves of which the customer hears."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What is asked for, and by whom. ``version`` is that of the record that the client saw, if it says so;
    with a ``key`` the same request has the same answer however late it is repeated.
    """

    order_id: str
    to: OrderStatus
    by: str
    reason: str = ""
    version: int | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """It has that status; ``is_new`` says that this request gave it."""

    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class IllegalMove:
    """The table does not have it: nothing was changed."""

    status: OrderStatus

    @property
    def allowed(self) -> Sequence[OrderStatus]:
        """What can be asked for instead."""
        return allowed_from(self.status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpaid:
    """The table has it, but the order is to be paid for first: nothing was changed."""

    status: OrderStatus
    payment: Payment

    @property
    def allowed(self) -> Sequence[OrderStatus]:
        """What can be asked for instead."""
        return [following for following in allowed_from(self.status) if following not in NEEDS_PAYMENT]


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherVersion:
    """Something has happened to the order since the client saw it."""

    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveKeyReused:
    """This key was sent for another move of this order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotMovable:
    """There is no such order, or it cannot be moved at this moment, for the ``reason``."""

    reason: str


MoveResult = Moved | IllegalMove | Unpaid | OtherVersion | MoveKeyReused | NotMovable


def refusal(result: MoveResult) -> str | None:
    """Why an order was not moved, for people; None where it was."""
    match result:
        case IllegalMove(status=status, allowed=allowed):
            return f"The order is {status}, and may become {' or '.join(allowed) or 'nothing else'}."
        case Unpaid(status=status, allowed=allowed, payment=payment):
            return f"Its payment is {payment}. The order is {status}, and can be {' or '.join(allowed)}."
        case OtherVersion():
            return "Something has happened to the order since. Look at it, and ask again."
        case MoveKeyReused():
            return "This Idempotency-Key was sent before, for another move of this order."
        case NotMovable(reason=reason):
            return f"Nothing was changed, since {reason}."
    return None


def allowed_from(status: OrderStatus) -> Sequence[OrderStatus]:
    """The moves that can be asked for of an order that stands there."""
    return [following for following in MOVES[status] if following in EVENT_TYPES]


def steps_to(status: OrderStatus, outcome: OrderStatus | None) -> Sequence[OrderStatus]:
    """The steps of an order that stands there and was decided so; whether one that is cancelled was being
    prepared is not known."""
    decided = () if outcome is None else (outcome,)
    if status is OrderStatus.CANCELLED:
        return (*decided, status)
    return (*decided, *_ON[: _ON.index(status) + 1]) if status in _ON else decided


def told_steps(status: OrderStatus, outcome: OrderStatus | None) -> Sequence[OrderStatus]:
    """Those of them of which its customer is told; of the last one in any case."""
    return [step for step in steps_to(status, outcome) if step in TOLD or step is outcome]


def event_of_step(record: OrderRecord, step: str, at: datetime) -> Event[EventData] | None:
    """What announced this step of an order then; None where its record knows of no such step, as when it is
    about another order that was given the id again."""
    if not any(line.step == step and line.at == at for line in record.timeline):
        return None
    if step == OrderStatus.ACCEPTED:
        return record.placed
    if step == OrderStatus.CREATED:
        created = decisions.Created(decided_at=at, prices=record.prices)
        return decisions.event_of(record.order, created, record.trace)
    if step == OrderStatus.REJECTED:
        why, sku = record.reason or "", record.sku_at_fault
        rejected = decisions.Rejected(decided_at=at, reason=why, sku=sku, prices=record.prices)
        return decisions.event_of(record.order, rejected, record.trace)
    return move_event(record, OrderStatus(step))


def move_event(record: OrderRecord, to: OrderStatus) -> Event[EventData] | None:
    """What announces a move; None where the record does not know of it."""
    step = next((step for step in reversed(record.timeline) if step.step == to.value), None)
    if step is None:
        return None
    data: EventData
    if to is OrderStatus.CANCELLED:
        data = OrderCancelled(order=record.order, reason=step.reason, prices=record.prices)
    else:
        data = _EVENTS[to](order=record.order, prices=record.prices)
    return Event(source=SOURCE, time=step.at, data=data, trace=record.trace)
