"""The states of an order and the moves between them: the one place that names them.

Scripts get these names from :mod:`shared.orders.redis.scripts`, OpenAPI and filters from the classes.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final


class OrderStatus(StrEnum):
    """Where an order stands. ``accepted`` is what others call pending."""

    SCHEDULED = "scheduled"
    ACCEPTED = "accepted"
    CREATED = "created"
    REJECTED = "rejected"
    PROCESSING = "processing"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"


class Trouble(StrEnum):
    """Why an accepted order is not decided: its message waits for another attempt, or lies dead."""

    RETRYING = "retrying"
    DEAD = "dead"


class Payment(StrEnum):
    """Where the payment of an order stands that is to be paid for; its status is a matter of its own.

    ``unknown`` means that the provider was asked and nobody knows what it did; ``refunded`` that nothing is
    taken any more, whatever was before, and that nothing will be.
    """

    PENDING = "pending"
    AUTHORISED = "authorised"
    DECLINED = "declined"
    UNKNOWN = "unknown"
    REFUNDED = "refunded"


PAYMENTS: Final[Mapping[Payment, Sequence[Payment]]] = {
    Payment.PENDING: (Payment.AUTHORISED, Payment.DECLINED, Payment.UNKNOWN, Payment.REFUNDED),
    Payment.UNKNOWN: (Payment.AUTHORISED, Payment.DECLINED, Payment.REFUNDED),
    Payment.AUTHORISED: (Payment.REFUNDED,),
    Payment.DECLINED: (),
    Payment.REFUNDED: (),
}
"""What may follow each; no cycles here either."""

MOVES: Final[Mapping[OrderStatus, Sequence[OrderStatus]]] = {
    OrderStatus.SCHEDULED: (OrderStatus.ACCEPTED, OrderStatus.CANCELLED),
    OrderStatus.ACCEPTED: (OrderStatus.CREATED, OrderStatus.REJECTED, OrderStatus.CANCELLED),
    OrderStatus.CREATED: (OrderStatus.PROCESSING, OrderStatus.CANCELLED),
    OrderStatus.REJECTED: (),
    OrderStatus.PROCESSING: (OrderStatus.SHIPPED, OrderStatus.CANCELLED),
    OrderStatus.SHIPPED: (OrderStatus.DELIVERED,),
    OrderStatus.DELIVERED: (),
    OrderStatus.CANCELLED: (),
}
"""The statuses that may follow each; the graph has no cycles, so an order takes each step once at most."""

FINAL: Final = frozenset(status for status, following in MOVES.items() if not following)
OUTCOMES: Final = (OrderStatus.CREATED, OrderStatus.REJECTED)
"""How an order can be decided. Whether one *is* decided is told by its ``decided_at`` alone: it moves on."""


PAYMENT_STEPS: Final = {f"payment_{payment.value}": payment for payment in Payment}
"""What a timeline calls them."""
NEEDS_PAYMENT: Final = frozenset((OrderStatus.PROCESSING,))
"""What an order becomes only once its payment is authorised, if it has one."""


def outcome_of(status: OrderStatus, *, is_decided: bool) -> OrderStatus | None:
    """How an order was decided that stands there by now."""
    if not is_decided:
        return None
    return OrderStatus.REJECTED if status is OrderStatus.REJECTED else OrderStatus.CREATED
