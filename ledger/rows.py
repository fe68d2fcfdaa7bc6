"""The rows of an order, its lines and its steps, from its record or from an entry of the log."""

import re
from typing import Any, Final

from shared.messages import epoch_microseconds
from shared.orders.model import OUTCOMES, OrderStatus
from shared.orders.records import OrderRecord
from shared.orders.redis.log import LogEntry
from shared.services import SERVICES

_MOVED: Final = frozenset(OrderStatus) - {OrderStatus.SCHEDULED, OrderStatus.ACCEPTED, *OUTCOMES}
"""Steps that people take, too, and say why."""
_ADDRESS: Final = re.compile(r"[^\s<>@]+@[^\s<>@]+")
Row = dict[str, Any]


def order_row(record: OrderRecord) -> Row:
    """The row of an order, as its record has it."""
    prices = record.prices
    return {
        "id": record.order.id,
        "customer": record.customer,
        "status": record.status.value,
        "trouble": record.trouble.value if record.trouble else None,
        "accepted_at": record.accepted_at_microseconds,
        "decided_at": epoch_microseconds(record.decided_at) if record.decided_at else None,
        "reason": nameless(record.reason) if record.reason else None,
        "currency": prices.currency if prices else None,
        "amount_total": prices.amount_total if prices else None,
    }


def line_rows(record: OrderRecord) -> list[Row]:
    """The rows of its lines."""
    prices = record.prices.lines if record.prices else [None] * len(record.order.items)
    return [
        {
            "order_id": record.order.id,
            "line": line,
            "sku": item.sku,
            "qty": item.qty,
            "unit_amount": price.unit_amount if price else None,
            "name": writable(price.name) if price else None,
        }
        for line, (item, price) in enumerate(zip(record.order.items, prices, strict=True), start=1)
    ]


def step_rows(record: OrderRecord) -> list[Row]:
    """The rows of its steps: a line of the timeline each."""
    return [
        {
            "order_id": record.order.id,
            "n": n,
            "type": step.step,
            "at": epoch_microseconds(step.at),
            "reason": _reason(step.step, step.by, step.reason),
            "by": step.by or "",
        }
        for n, step in enumerate(record.timeline, start=1)
    ]


def writable(text: str) -> str:
    """Without what PostgreSQL takes in no text; the texts of errors may hold anything."""
    return text.replace("\0", "")


def nameless(text: str) -> str:
    """The same without addresses: what stands here stays for years, also after its customer is erased."""
    return _ADDRESS.sub("…@…", writable(text))


def _reason(step: str, by: str | None, reason: str | None) -> str:
    """What is kept of a reason: none that a person gave in words of its own."""
    return "" if step in _MOVED and by not in SERVICES else nameless(reason or "")


def step_row(step: LogEntry) -> Row:
    """The row of a step, as the log has it."""
    return {
        "order_id": step.order_id,
        "n": step.n,
        "type": step.type,
        "at": step.at,
        "reason": _reason(step.type, step.by, step.reason),
        "by": step.by,
    }


def decision_row(step: LogEntry) -> Row:
    """What a decision changes in the row of its order."""
    why = nameless(step.reason) or None
    return {"id": step.order_id, "status": step.type, "trouble": None, "decided_at": step.at, "reason": why}
