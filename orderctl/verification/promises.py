"""What clients were promised, by the word of their ledger."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orderctl.ledger import LedgerEvent, read_ledger
from shared.messages import OrderItem
from shared.prices import Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Promises:
    """The acknowledged orders that must be there, what was asked for and what it was to cost, by order.

    ``expired`` counts those that were acknowledged so long ago that they may have been removed since.
    """

    acknowledged: Collection[str] = ()
    contents: Mapping[str, Sequence[OrderItem]] = field(default_factory=dict)
    costs: Mapping[str, Cost] = field(default_factory=dict)
    expired: int = 0


def read_promises(path: Path, *, retention_seconds: float) -> Promises:
    """The ledger of `orderctl load`. Lines of before ledgers had times count as old as the file is."""
    oldest = time.time() - retention_seconds
    written_at = path.stat().st_mtime
    acknowledged: set[str] = set()
    contents: dict[str, Sequence[OrderItem]] = {}
    alike: dict[tuple[OrderItem, ...], Sequence[OrderItem]] = {}
    costs: dict[str, Cost] = {}
    expired = 0
    for entry in read_ledger(path):
        if entry.event is LedgerEvent.ATTEMPTED:
            contents[entry.order_id] = alike.setdefault(entry.items, entry.items)
        elif entry.event is LedgerEvent.ACKNOWLEDGED:
            if (entry.at or written_at) < oldest:
                expired += 1
            else:
                acknowledged.add(entry.order_id)
                if entry.cost:
                    costs[entry.order_id] = entry.cost
    return Promises(acknowledged=acknowledged, contents=contents, costs=costs, expired=expired)
