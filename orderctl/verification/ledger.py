"""Whether the SQL ledger has what the records say: every step once, and what an order costs.

A record is read first, then the ledger, once that has read the log up to there. It may know more by then.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from ledger.rows import Row, line_rows, order_row, step_rows
from ledger.store import LedgerStore
from orderctl.oracle import Verdict
from orderctl.verification.following import wait_for_follower
from orderctl.verification.verification import Patience
from shared import keyspace
from shared.errors import DatabaseUnavailable
from shared.orders.model import OrderStatus
from shared.orders.records import OrderRecord
from shared.orders.redis.log import OrderLog
from shared.orders.redis.reading import fetch_records
from shared.redis.client import Redis, store_deadline

ORDERS_AT_ONCE: Final = 500
MONEY: Final = ("currency", "amount_total")


class LedgerAudit:
    """Compares the ledger with the store. Raises StoreUnavailable."""

    def __init__(
        self, redis: Redis, ledger: LedgerStore, *, timeout_seconds: float, patience: Patience
    ) -> None:
        self._redis: Any = redis
        self._ledger = ledger
        self._log = OrderLog(redis, timeout_seconds=timeout_seconds)
        self._timeout_seconds = timeout_seconds
        self._patience = patience

    async def run(self, verdict: Verdict) -> None:
        """Blames orders that the ledger has not, or not so. What differs is looked at once more."""
        try:
            await self._wait_for_ledger()
            suspects: set[str] = set()
            async for order_ids in self._pages():
                suspects |= (await self._differences(order_ids, at_once=True)).keys()
                verdict.in_sql += len(order_ids)
            again = sorted(suspects)
            for start in range(0, len(again), ORDERS_AT_ONCE):
                found = await self._differences(again[start : start + ORDERS_AT_ONCE])
                for order_id, why in found.items():
                    verdict.blame("unrecorded", order_id, why)
            for why in await self._ledger.miscounted():
                verdict.blame("unrecorded", f"statistics: {why}", "its rows come to something else")
        except (DatabaseUnavailable, TimeoutError) as error:
            verdict.blame("unrecorded", "ledger", str(error))

    async def _pages(self) -> AsyncIterator[Sequence[str]]:
        for status in OrderStatus:
            cursor = 0
            while True:
                async with store_deadline(self._timeout_seconds):
                    cursor, places = await self._redis.zscan(
                        keyspace.orders_in(status), cursor, count=ORDERS_AT_ONCE
                    )
                for start in range(0, len(places), ORDERS_AT_ONCE):
                    yield [order_id for order_id, _ in places[start : start + ORDERS_AT_ONCE]]
                if not cursor:
                    break

    async def _differences(self, order_ids: Sequence[str], *, at_once: bool = False) -> Mapping[str, str]:
        async with store_deadline(self._timeout_seconds):
            records = await fetch_records(self._redis, order_ids)
        if not at_once:
            await self._wait_for_ledger()
        orders, lines, steps = await self._ledger.written(order_ids)
        rows = {row["id"]: row for row in orders}
        own_lines, own_steps = _by_order(lines), _by_order(steps)
        found = {}
        for record in records:
            if record is not None:
                order_id = record.order.id
                own = own_lines.get(order_id, ()), own_steps.get(order_id, ())
                if why := _difference(record, rows.get(order_id), *own):
                    found[order_id] = why
        return found

    async def _wait_for_ledger(self) -> None:
        await wait_for_follower(self._log, self._ledger.position, self._patience)


def _by_order(rows: Sequence[Row]) -> Mapping[str, Sequence[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["order_id"], []).append(row)
    return found


def _difference(
    record: OrderRecord,
    row: Row | None,
    lines: Sequence[Row],
    steps: Sequence[Row],
) -> str:
    """What is wrong with the ledger's rows of one order; empty where nothing is."""
    told, own = step_rows(record), order_row(record)
    if row is None:
        return "the ledger has no such order"
    if list(steps[: len(told)]) != told:
        missing = [step["n"] for step in told if step not in steps]
        return f"the ledger lacks or differs in steps {', '.join(map(str, missing))} of {len(told)}"
    if any(row[name] != own[name] for name in MONEY) or list(lines) != line_rows(record):
        return "the ledger has other lines, or another total"
    if len(steps) == len(told) and row["status"] != own["status"]:
        return f"is {own['status']}, in the ledger {row['status']}"
    return ""
