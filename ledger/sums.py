"""What all orders come to, kept in the transaction that writes them: reading it is a look at few rows.

A batch is summed up by the database before it is written and after; the difference is what it adds.
"""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Column, Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.bulk import Known, among, insert_rows
from ledger.schema import DAYS, LINES, ORDERS, REVENUE, SALES
from shared.history.schemas import DayView, OrderStatistics, SellerView
from shared.orders.model import OrderStatus

BEST_SELLERS: Final = 10
DAY_MICROSECONDS: Final = 86_400_000_000
SOLD: Final = (OrderStatus.CREATED, OrderStatus.PROCESSING, OrderStatus.SHIPPED, OrderStatus.DELIVERED)
"""What was reserved and not given back: it counts as revenue."""
_EPOCH: Final = date(1970, 1, 1)
_DAY: Final = ORDERS.c.accepted_at // DAY_MICROSECONDS
_IS_SOLD: Final = ORDERS.c.status.in_(SOLD)


@dataclass(slots=True)
class _Sums:
    """Of some orders, by the keys of the tables."""

    orders: Counter[tuple[Any, ...]]
    amounts: Counter[tuple[Any, ...]]
    pieces: Counter[tuple[Any, ...]]


@asynccontextmanager
async def summing(
    connection: AsyncConnection, known: Sequence[str], order_ids: Sequence[str]
) -> AsyncIterator[None]:
    """Around what writes these orders, and no others, in the connection's transaction. Of them no others than
    those in ``known`` can be there before.
    """
    before = await _sums(connection, known)
    yield
    after = await _sums(connection, order_ids)
    await _add(connection, DAYS, DAYS.c.orders, before.orders, after.orders)
    await _add(connection, REVENUE, REVENUE.c.amount, before.amounts, after.amounts)
    await _add(connection, SALES, SALES.c.qty, before.pieces, after.pieces)


async def _sums(connection: AsyncConnection, order_ids: Sequence[str]) -> _Sums:
    sums = _Sums(Counter(), Counter(), Counter())
    if not order_ids:
        return sums
    these = among(connection, ORDERS.c.id, order_ids)
    columns = (_DAY.label("day"), ORDERS.c.status, ORDERS.c.currency)
    count, amount = func.count().label("orders"), func.sum(ORDERS.c.amount_total).label("amount")
    for row in await connection.execute(select(*columns, count, amount).where(these).group_by(*columns)):
        sums.orders[int(row.day), row.status] += row.orders
        if row.status in SOLD and row.amount is not None:
            sums.amounts[int(row.day), row.currency] += int(row.amount)
    qty = func.sum(LINES.c.qty).filter(_IS_SOLD)  # no condition: PostgreSQL would look for all of a status
    pieces = select(LINES.c.sku, qty.label("qty")).join(ORDERS).where(these).group_by(LINES.c.sku)
    for row in await connection.execute(pieces):
        sums.pieces[(row.sku,)] += int(row.qty or 0)
    return sums


async def _add(
    connection: AsyncConnection,
    table: Table,
    column: Column[Any],
    before: Counter[tuple[Any, ...]],
    after: Counter[tuple[Any, ...]],
) -> None:
    keys = [key.name for key in table.primary_key]
    after.subtract(before)
    rows = [
        {**dict(zip(keys, key, strict=True)), column.name: change} for key, change in after.items() if change
    ]
    await insert_rows(connection, table, rows, Known.ADDED_TO)


async def statistics(connection: AsyncConnection, days: int) -> OrderStatistics:
    """All of them, and the latest ``days`` days one by one up to today, newest first."""
    today = (datetime.now(UTC).date() - _EPOCH).days
    since = today - days + 1
    orders: Counter[Any] = Counter()
    revenue: Counter[Any] = Counter()
    by_day: dict[int, DayView] = {}
    for table, name, amount, totals in (
        (DAYS, DAYS.c.status, DAYS.c.orders, orders),
        (REVENUE, REVENUE.c.currency, REVENUE.c.amount, revenue),
    ):
        of_all = select(name.label("name"), func.sum(amount).label("amount")).where(amount != 0)
        for row in await connection.execute(of_all.group_by(name).order_by(name)):
            totals[row.name] = int(row.amount)
        of_days = select(table.c.day, name.label("name"), amount.label("amount"))
        latest = of_days.where(table.c.day.between(since, today), amount != 0).order_by(
            table.c.day.desc(), name
        )
        for of_day in await connection.execute(latest):
            view = DayView(day=_EPOCH + timedelta(days=of_day.day), orders={}, revenue={})
            day = by_day.setdefault(of_day.day, view)
            shown: Any = day.orders if table is DAYS else day.revenue
            shown[of_day.name] = of_day.amount
    best = select(SALES).where(SALES.c.qty > 0).order_by(SALES.c.qty.desc()).limit(BEST_SELLERS)
    sellers = [SellerView(sku=row.sku, qty=row.qty) for row in await connection.execute(best)]
    return OrderStatistics(
        orders=orders,
        revenue=revenue,
        best_sellers=sellers,
        days=[by_day[day] for day in sorted(by_day, reverse=True)],
    )
