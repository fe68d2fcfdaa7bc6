"""The record of an order, as the scripts write it.

A timeline is one line per step: microseconds since the epoch, step, reason and attempts, split by tabs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.errors import DecodeError
from shared.messages import Order, Trace, decode_order, epoch_microseconds, event_time
from shared.orders.model import OrderStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineStep:
    """One thing that happened to an order."""

    step: str
    at: datetime
    reason: str | None = None
    attempts: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRecord:
    """An order as the store knows it. ``accepted_at`` is the time by which orders are listed.

    ``sequence`` is the value of ``orders.processed.count`` right after the order was decided.
    """

    order: Order
    status: OrderStatus
    accepted_at: datetime
    decided_at: datetime | None
    reason: str | None
    sku_at_fault: str | None
    sequence: int | None
    next_attempt_at: datetime | None
    trace: Trace
    timeline: Sequence[TimelineStep]
    idempotency_key: str | None = None

    @property
    def accepted_at_microseconds(self) -> int:
        """``accepted_at`` as the store keeps it, since the epoch."""
        return epoch_microseconds(self.accepted_at)


def read_record(fields: Mapping[str, str]) -> OrderRecord:
    """The record behind the fields of ``order:{id}``. Raises DecodeError."""
    try:
        return _record(fields)
    except (KeyError, ValueError, OverflowError) as error:
        raise DecodeError(f"{type(error).__name__}: {error}") from error


def _record(fields: Mapping[str, str]) -> OrderRecord:
    return OrderRecord(
        order=decode_order(fields["order"]),
        status=OrderStatus(fields["status"]),
        accepted_at=event_time(int(fields["accepted_at"])),
        decided_at=_time(fields.get("decided_at")),
        reason=fields.get("reason") or None,
        sku_at_fault=fields.get("sku_at_fault") or None,
        sequence=int(fields["sequence"]) if fields.get("sequence") else None,
        next_attempt_at=_time(fields.get("next_attempt_at")),
        trace=Trace(
            correlation_id=fields.get("correlation_id", ""), traceparent=fields.get("traceparent") or None
        ),
        timeline=[_step(line) for line in fields.get("timeline", "").splitlines()],
        idempotency_key=fields.get("idempotency_key") or None,
    )


def _step(line: str) -> TimelineStep:
    at, step, reason, attempts = line.split("\t")
    return TimelineStep(
        step=step, at=event_time(int(at)), reason=reason or None, attempts=int(attempts) if attempts else None
    )


def _time(microseconds: str | None) -> datetime | None:
    return event_time(int(microseconds)) if microseconds else None
