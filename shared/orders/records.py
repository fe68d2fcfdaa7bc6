"""The record of an order, as the scripts write it.

A timeline is one line per step: microseconds since the epoch, step, reason, attempts and by whom,
split by tabs; an older version did not say by whom.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.errors import DecodeError
from shared.messages import Event, Order, OrderPlaced, Trace, decode_order, epoch_microseconds, event_time
from shared.orders.model import FINAL, PAYMENT_STEPS, OrderStatus, Payment, Trouble, outcome_of
from shared.prices import Prices, read_prices

SOURCE: Final = "/api_gateway"
FIELDS: Final = (
    *("order", "status", "trouble", "accepted_at", "decided_at", "moved_at", "reason", "sku_at_fault"),
    *("sequence", "released", "next_attempt_at", "correlation_id", "traceparent", "timeline"),
    *("idempotency_key", "customer", "prices", "not_before"),
)
"""What is read of ``order:{id}``."""
_TROUBLES: Final = frozenset(trouble.value for trouble in Trouble)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineStep:
    """One thing that happened to an order; ``by`` is a customer's id or a service, where that is known."""

    step: str
    at: datetime
    reason: str | None
    attempts: int | None
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRecord:
    """An order as the store knows it. ``accepted_at`` is the time by which orders are listed: of one that was
    scheduled the time at which it begins, which is ``not_before`` too.

    ``moved_at`` is when it was moved last by request. ``sequence`` is the value of ``orders.processed.count``
    right after the order was decided, ``released`` that of ``stock.releases`` right after it gave its stock
    back. ``prices`` were fixed when it was accepted.
    """

    order: Order
    status: OrderStatus
    trouble: Trouble | None = None
    accepted_at: datetime
    decided_at: datetime | None
    moved_at: datetime | None = None
    reason: str | None
    sku_at_fault: str | None
    sequence: int | None
    released: int | None = None
    next_attempt_at: datetime | None
    trace: Trace
    timeline: Sequence[TimelineStep]
    idempotency_key: str | None = None
    customer: str | None = None
    prices: Prices | None = None
    not_before: datetime | None = None

    @property
    def outcome(self) -> OrderStatus | None:
        """How it was decided, wherever it stands by now."""
        return outcome_of(self.status, is_decided=self.decided_at is not None)

    @property
    def ended_at(self) -> datetime | None:
        """When it came to its end; None where it has not."""
        return (self.moved_at or self.decided_at) if self.status in FINAL else None

    @property
    def payment(self) -> Payment | None:
        """Where its payment stands; None where there is nothing to pay, or its timeline is not known."""
        return last_payment(step.step for step in self.timeline)

    @property
    def version(self) -> int:
        """How many steps there have been: it changes with everything that happens to the order."""
        return len(self.timeline)

    @property
    def placed(self) -> Event[OrderPlaced]:
        """What asks for its decision; the same event, however often it is made."""
        return placed_event(self.order, self.accepted_at, self.trace, self.prices, self.customer)

    @property
    def accepted_at_microseconds(self) -> int:
        """``accepted_at`` as the store keeps it, since the epoch."""
        return epoch_microseconds(self.accepted_at)


def last_payment(steps: Iterable[str]) -> Payment | None:
    """Where a payment stands after these steps of its order; None where none of them is about one."""
    payments = [PAYMENT_STEPS[step] for step in steps if step in PAYMENT_STEPS]
    return payments[-1] if payments else None


def placed_event(
    order: Order,
    accepted_at: datetime,
    trace: Trace,
    prices: Prices | None = None,
    customer: str | None = None,
) -> Event[OrderPlaced]:
    """The event that says that an order of this customer was accepted, at these prices."""
    data = OrderPlaced(order=order, prices=prices, customer=customer)
    return Event(source=SOURCE, time=accepted_at, data=data, trace=trace)


def read_record(fields: Mapping[str, str]) -> OrderRecord:
    """The record behind the fields of ``order:{id}``. Raises DecodeError."""
    try:
        return _record(fields)
    except (KeyError, ValueError, OverflowError) as error:
        raise DecodeError(f"{type(error).__name__}: {error}") from error


def standing(fields: Mapping[str, str]) -> tuple[OrderStatus, Trouble | None]:
    """Status and trouble. An older version wrote the trouble as the status; a decided order is in none."""
    status, trouble = fields["status"], fields.get("trouble")
    if status in _TROUBLES:
        status, trouble = OrderStatus.ACCEPTED, status
    return OrderStatus(status), Trouble(trouble) if trouble and not fields.get("decided_at") else None


def _record(fields: Mapping[str, str]) -> OrderRecord:
    status, trouble = standing(fields)
    order = decode_order(fields["order"])
    return OrderRecord(
        order=order,
        status=status,
        trouble=trouble,
        accepted_at=event_time(int(fields["accepted_at"])),
        decided_at=_time(fields.get("decided_at")),
        moved_at=_time(fields.get("moved_at")),
        reason=fields.get("reason") or None,
        sku_at_fault=fields.get("sku_at_fault") or None,
        sequence=int(fields["sequence"]) if fields.get("sequence") else None,
        released=int(fields["released"]) if fields.get("released") else None,
        next_attempt_at=_time(fields.get("next_attempt_at")),
        trace=Trace(
            correlation_id=fields.get("correlation_id", ""), traceparent=fields.get("traceparent") or None
        ),
        timeline=[_step(line) for line in fields.get("timeline", "").split("\n") if line],
        idempotency_key=fields.get("idempotency_key") or None,
        customer=fields.get("customer") or None,
        prices=read_prices(fields.get("prices"), len(order.items)),
        not_before=_time(fields.get("not_before")),
    )


def _step(line: str) -> TimelineStep:
    at, step, reason, attempts, *by = line.split("\t")
    return TimelineStep(
        step=step,
        at=event_time(int(at)),
        reason=reason or None,
        attempts=int(attempts) if attempts else None,
        by=(by[0] or None) if by else None,
    )


def _time(microseconds: str | None) -> datetime | None:
    return event_time(int(microseconds)) if microseconds else None
