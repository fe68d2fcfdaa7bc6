"""The tables of the ledger as code writes to them; ``migrations`` makes them.

Times are microseconds since the epoch. They name nobody: a customer is an id here, and so is who did a step.
"""

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, MetaData, Table, Text

from shared.orders.position import position_table

METADATA: Final = MetaData()
ORDERS: Final = Table(
    "orders",
    METADATA,
    Column("id", Text(collation="C").with_variant(Text(), "sqlite"), primary_key=True),
    Column("customer", Text),
    Column("status", Text, nullable=False),
    Column("trouble", Text),
    Column("accepted_at", BigInteger, nullable=False),
    Column("decided_at", BigInteger),
    Column("reason", Text),
    Column("currency", Text),
    Column("amount_total", BigInteger),
)
LINES: Final = Table(
    "order_lines",
    METADATA,
    Column("order_id", ORDERS.c.id.type, ForeignKey("orders.id"), primary_key=True),
    Column("line", Integer, primary_key=True),
    Column("sku", Text, nullable=False),
    Column("qty", Integer, nullable=False),
    Column("unit_amount", BigInteger),
    Column("name", Text),
)
EVENTS: Final = Table(
    "order_events",
    METADATA,
    Column("order_id", ORDERS.c.id.type, primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("type", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("by", Text, nullable=False),
)
DAYS: Final = Table(
    "days",
    METADATA,
    Column("day", Integer, primary_key=True),
    Column("status", Text, primary_key=True),
    Column("orders", BigInteger, nullable=False),
)
"""How many orders that were accepted on a day, counted from the epoch in UTC, stand where."""
REVENUE: Final = Table(
    "revenue",
    METADATA,
    Column("day", Integer, primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("amount", BigInteger, nullable=False),
)
SALES: Final = Table(
    "sales",
    METADATA,
    Column("sku", ORDERS.c.id.type, primary_key=True),
    Column("qty", BigInteger, nullable=False, index=True),
)
POSITION: Final = position_table(METADATA)
