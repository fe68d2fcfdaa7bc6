"""Placing an order, and the values in which the store answers."""

from dataclasses import dataclass

from shared.errors import PipelineError
from shared.messages import Order, Trace
from shared.orders.model import OrderStatus


class OutboxFull(PipelineError):
    """Raised when too many orders wait for a broker, or this one has no room. Nothing was accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A request to place an order.

    ``client_named_id`` is False where the server made the order's id up. ``media_type`` is that of the
    answer, kept so that a replay answers in the same form. Without ``has_room`` a new order is refused.
    """

    order: Order
    client_named_id: bool
    idempotency_key: str | None
    media_type: str
    trace: Trace
    has_room: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The order exists and will be decided."""

    order_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """The same ``Idempotency-Key`` came with the same content before: answer as then."""

    order_id: str
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """An order with this id exists. ``status`` is None where only its claim is left."""

    order_id: str
    status: OrderStatus | None
    same_content: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyReused:
    """The ``Idempotency-Key`` belongs to other content."""

    order_id: str


PlacementResult = Accepted | Replayed | Duplicate | KeyReused


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """The store's answer to a placement.

    ``accepted_at`` is in microseconds since the epoch where the order is new, else None; ``waiting`` says
    whether a replayed order still lies in the outbox.
    """

    result: PlacementResult
    accepted_at: int | None = None
    waiting: bool = False
