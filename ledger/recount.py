"""The sums of statistics against the rows that they sum up, and made anew from these.

Both look at one instant: each table is compared by one statement, which takes seconds where there are
millions of orders.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Select, Table, delete, func, insert, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.schema import DAYS, LINES, ORDERS, REVENUE, SALES
from ledger.sums import DAY_MICROSECONDS, SOLD

RECOUNT_SECONDS: Final = 600.0
MOST_NAMED: Final = 20
_DAY: Final = (ORDERS.c.accepted_at // DAY_MICROSECONDS).label("day")
_IS_SOLD: Final = ORDERS.c.status.in_(SOLD)


def _counted() -> Sequence[tuple[Table, Select[Any]]]:
    """Each table, and what should be in it."""
    orders = select(_DAY, ORDERS.c.status, func.count().label("sum")).group_by(_DAY, ORDERS.c.status)
    earned = select(_DAY, ORDERS.c.currency, func.sum(ORDERS.c.amount_total).label("sum"))
    earned = earned.where(_IS_SOLD, ORDERS.c.amount_total.is_not(None)).group_by(_DAY, ORDERS.c.currency)
    pieces = select(LINES.c.sku, func.sum(LINES.c.qty).label("sum")).join(ORDERS).where(_IS_SOLD)
    return (DAYS, orders), (REVENUE, earned), (SALES, pieces.group_by(LINES.c.sku))


async def miscounted(connection: AsyncConnection) -> Sequence[str]:
    """Sums that are not what their rows come to, in words; the first ones of each table."""
    found: list[str] = []
    for table, counted in _counted():
        keys, kept = list(table.primary_key), next(each for each in table.c if not each.primary_key)
        right = counted.subquery()
        both = union_all(
            select(*keys, kept.label("sum")),
            select(*(right.c[key.name] for key in keys), (-right.c.sum).label("sum")),
        ).subquery()
        by_key = [both.c[key.name] for key in keys]
        differences = select(*by_key, func.sum(both.c.sum).label("more")).group_by(*by_key)
        differences = differences.having(func.sum(both.c.sum) != 0).order_by(*by_key).limit(MOST_NAMED)
        for *key, more in await connection.execute(differences):
            where = ", ".join(f"{name.name} {value}" for name, value in zip(keys, key, strict=True))
            found.append(f"{table.name} ({where}) has {int(more):+} {kept.name}")
    return found


async def recount(connection: AsyncConnection) -> None:
    """Makes them anew; nobody else may write orders meanwhile."""
    for table, counted in _counted():
        await connection.execute(delete(table))
        await connection.execute(insert(table).from_select([column.name for column in table.c], counted))
