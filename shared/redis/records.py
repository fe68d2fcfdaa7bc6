"""Reading the record of an order, as the scripts of gateway and processor write it.

A timeline is one line per step: microseconds since the epoch, step, reason and attempts, split by tabs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.keyspace import OrderStatus
from shared.messages import Order, Trace, decode_order, epoch_microseconds, event_time


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

    @property
    def accepted_at_microseconds(self) -> int:
        """``accepted_at`` as the store keeps it, since the epoch."""
        return epoch_microseconds(self.accepted_at)


def read_record(fields: Mapping[str, str]) -> OrderRecord:
    """The record behind the fields of ``order:{id}``. Raises DecodeError, KeyError or ValueError."""
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
    )


def _step(line: str) -> TimelineStep:
    at, step, reason, attempts = line.split("\t")
    return TimelineStep(
        step=step, at=event_time(int(at)), reason=reason or None, attempts=int(attempts) if attempts else None
    )


def _time(microseconds: str | None) -> datetime | None:
    return event_time(int(microseconds)) if microseconds else None
