"""An index for each way to look for orders and notifications, and what all orders come to."""

import sqlalchemy as sa
from alembic import op

from shared.orders.model import OrderStatus

revision = "0002"
down_revision = "0001"

TOLD = sa.text("type IN ('notified', 'notification_failed')")
UNOWNED = sa.text("customer IS NULL")
TROUBLED = sa.text("trouble IS NOT NULL")
SOLD = (OrderStatus.CREATED, OrderStatus.PROCESSING, OrderStatus.SHIPPED, OrderStatus.DELIVERED)
DAY = 86_400_000_000


def upgrade() -> None:
    """With the sums of what is there."""
    place = ["accepted_at", "id"]
    op.create_index("orders_by_time", "orders", place)
    op.create_index("orders_by_status", "orders", ["status", *place])
    op.create_index("orders_by_customer", "orders", ["customer", *place])
    for name, columns, where in (
        ("orders_by_trouble", ["trouble", *place], TROUBLED),
        ("orders_unowned", place, UNOWNED),
        ("orders_unowned_by_status", ["status", *place], UNOWNED),
    ):
        op.create_index(name, "orders", columns, postgresql_where=where, sqlite_where=where)
    op.create_index(
        "order_events_told", "order_events", ["at", "order_id", "n"], postgresql_where=TOLD, sqlite_where=TOLD
    )
    days = op.create_table(
        "days",
        sa.Column("day", sa.Integer, primary_key=True),
        sa.Column("status", sa.Text, primary_key=True),
        sa.Column("orders", sa.BigInteger, nullable=False),
    )
    revenue = op.create_table(
        "revenue",
        sa.Column("day", sa.Integer, primary_key=True),
        sa.Column("currency", sa.Text, primary_key=True),
        sa.Column("amount", sa.BigInteger, nullable=False),
    )
    sales = op.create_table(
        "sales",
        sa.Column("sku", sa.Text(collation="C").with_variant(sa.Text(), "sqlite"), primary_key=True),
        sa.Column("qty", sa.BigInteger, nullable=False, index=True),
    )
    kept = (sa.column("accepted_at", sa.BigInteger), sa.column("status", sa.Text))
    orders = sa.table("orders", sa.column("id"), *kept, sa.column("currency"), sa.column("amount_total"))
    lines = sa.table("order_lines", sa.column("order_id"), sa.column("sku"), sa.column("qty"))
    day, is_sold = orders.c.accepted_at // sa.literal(DAY, sa.BigInteger), orders.c.status.in_(SOLD)
    total, pieces = sa.func.sum(orders.c.amount_total), sa.func.sum(lines.c.qty)
    standing = sa.select(day, orders.c.status, sa.func.count()).group_by(sa.text("1, 2"))
    earned = sa.select(day, orders.c.currency, total).where(is_sold, orders.c.amount_total.is_not(None))
    sold = sa.select(lines.c.sku, pieces).join_from(lines, orders, orders.c.id == lines.c.order_id)
    for table, rows in (
        (days, standing),
        (revenue, earned.group_by(sa.text("1, 2"))),
        (sales, sold.where(is_sold).group_by(lines.c.sku)),
    ):
        op.execute(sa.insert(table).from_select([column.name for column in table.c], rows))
