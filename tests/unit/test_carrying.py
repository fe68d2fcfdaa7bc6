"""Events leave an outbox in their order, by one replica at a time."""

from collections.abc import Sequence
from typing import Any, cast

from shared.redis.lease import Lease
from shared.service.carrying import LEASE_SECONDS, Carrier
from shared.sql.outbox import EVENTS, OutboxRow


class MemoryOutbox:
    """Rows in a list."""

    def __init__(self, count: int) -> None:
        self.rows = [OutboxRow(number=n, kind=EVENTS, subject="ann", body="") for n in range(count)]

    async def oldest(self, _: str, limit: int) -> Sequence[OutboxRow]:
        return self.rows[:limit]

    async def remove(self, rows: Sequence[OutboxRow]) -> None:
        self.rows = [row for row in self.rows if row not in rows]


class TakenAfter:
    """A lease that another replica takes once ``carried`` has so many rows."""

    def __init__(self, carried: list[int], most: int) -> None:
        self._carried = carried
        self._most = most
        self.held: list[int] = []

    async def hold(self, seconds: float) -> bool:
        assert seconds == LEASE_SECONDS
        self.held.append(len(self._carried))
        return len(self._carried) < self._most


def carrier(outbox: MemoryOutbox, lease: Any, carried: list[int]) -> Carrier:
    """What carries these rows one after another."""

    async def carry(rows: Sequence[OutboxRow]) -> None:
        carried.extend(row.number for row in rows)

    return Carrier(outbox, EVENTS, carry, cast(Lease, lease))


async def test_the_lease_is_renewed_before_each_event() -> None:
    """However slow the brokers are, it does not run out in the midst of a batch."""
    carried: list[int] = []
    outbox, lease = MemoryOutbox(5), TakenAfter(carried, 100)
    await carrier(outbox, lease, carried).round()
    assert carried == [0, 1, 2, 3, 4]
    assert set(carried) <= set(lease.held)
    assert outbox.rows == []


async def test_who_loses_the_lease_stops_where_it_is() -> None:
    """What it carried is gone; the rest is the other's."""
    carried: list[int] = []
    outbox = MemoryOutbox(5)
    await carrier(outbox, TakenAfter(carried, 3), carried).round()
    assert carried == [0, 1, 2]
    assert [row.number for row in outbox.rows] == [3, 4]
