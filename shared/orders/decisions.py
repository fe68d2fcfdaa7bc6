"""What was decided about an order, and how that is announced. Pure, no I/O.

The processor decides orders, and an operator who drops a dead letter decides one; the same decision makes the
same event, whoever announces it and however often.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.messages import Event, EventData, Order, OrderCreated, OrderRejected, Trace, step_name
from shared.orders.model import OrderStatus
from shared.prices import Prices

SOURCE: Final = "/order_processor"
DROPPED: Final = "dropped"
"""The reason of an order that an operator ended."""
OTHER_CONTENT: Final = "other_content"
"""Why a message decides nothing where another order was accepted under the same id."""
EVENT_TYPES: Final = {
    OrderStatus.CREATED: step_name(OrderCreated),
    OrderStatus.REJECTED: step_name(OrderRejected),
}
"""What announces each outcome, as ids have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """All of the order's stock was taken. ``prices`` are those of its record."""

    decided_at: datetime
    prices: Prices | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """Nothing was taken, for this reason; ``sku`` is the item at fault, if one is. ``prices`` as above."""

    decided_at: datetime
    reason: str
    sku: str | None
    prices: Prices | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecidable:
    """The order cannot be decided by asking again: its record is gone or another's, or stock is broken."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """There is nothing to decide: the order was cancelled before, which is announced by itself."""


Decision = Created | Rejected | Cancelled | Undecidable


def event_of(
    order: Order, decision: Created | Rejected, trace: Trace, *, is_replay: bool = False
) -> Event[EventData]:
    """What to announce. The same decision gives the same event, however often it is announced.

    Only whether that follows from a replay may differ.
    """
    data: EventData
    if isinstance(decision, Created):
        data = OrderCreated(order=order, prices=decision.prices)
    else:
        data = OrderRejected(order=order, reason=decision.reason, sku=decision.sku, prices=decision.prices)
    return Event(source=SOURCE, time=decision.decided_at, data=data, trace=trace, is_replay=is_replay)
