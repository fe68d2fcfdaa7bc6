"""What clients were promised, by the word of their ledger."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from orderctl.ledger import LedgerEvent, read_ledger
from shared.messages import OrderItem
from shared.prices import Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Promises:
    """The acknowledged orders that must be there, what was asked for and what it was to cost, by order.

    ``times`` says when they were acknowledged, in seconds since the epoch, where that is known. ``expired``
    counts those that were acknowledged so long ago that they may have been removed since.
    """

    acknowledged: Collection[str] = ()
    contents: Mapping[str, Sequence[OrderItem]] = field(default_factory=dict)
    costs: Mapping[str, Cost] = field(default_factory=dict)
    times: Mapping[str, float] = field(default_factory=dict)
    expired: int = 0

    def since(self, oldest: float) -> "Promises":
        """Without the orders that were acknowledged before that."""
        old = {order_id for order_id, at in self.times.items() if at < oldest}
        return replace(
            self,
            acknowledged=[each for each in self.acknowledged if each not in old],
            costs={order_id: cost for order_id, cost in self.costs.items() if order_id not in old},
            expired=len(old),
        )


def read_promises(path: Path) -> Promises:
    """The ledger of `orderctl load`. Lines of before ledgers had times count as old as the file is."""
    written_at = path.stat().st_mtime
    times: dict[str, float] = {}
    contents: dict[str, Sequence[OrderItem]] = {}
    alike: dict[tuple[OrderItem, ...], Sequence[OrderItem]] = {}
    costs: dict[str, Cost] = {}
    for entry in read_ledger(path):
        if entry.event is LedgerEvent.ATTEMPTED:
            contents[entry.order_id] = alike.setdefault(entry.items, entry.items)
        elif entry.event is LedgerEvent.ACKNOWLEDGED:
            times[entry.order_id] = entry.at or written_at
            if entry.cost:
                costs[entry.order_id] = entry.cost
    return Promises(acknowledged=times.keys(), contents=contents, costs=costs, times=times)
