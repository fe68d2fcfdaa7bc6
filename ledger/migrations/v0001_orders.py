"""Orders, their lines, every step of them, and how far the log was read."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

ID = sa.Text(collation="C").with_variant(sa.Text(), "sqlite")


def upgrade() -> None:
    """An empty ledger, which reads the records first."""
    op.create_table(
        "orders",
        sa.Column("id", ID, primary_key=True),
        sa.Column("customer", sa.Text),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("trouble", sa.Text),
        sa.Column("accepted_at", sa.BigInteger, nullable=False),
        sa.Column("decided_at", sa.BigInteger),
        sa.Column("reason", sa.Text),
        sa.Column("currency", sa.Text),
        sa.Column("amount_total", sa.BigInteger),
    )
    op.create_table(
        "order_lines",
        sa.Column("order_id", ID, sa.ForeignKey("orders.id"), primary_key=True),
        sa.Column("line", sa.Integer, primary_key=True),
        sa.Column("sku", sa.Text, nullable=False),
        sa.Column("qty", sa.Integer, nullable=False),
        sa.Column("unit_amount", sa.BigInteger),
        sa.Column("name", sa.Text),
    )
    op.create_table(
        "order_events",
        sa.Column("order_id", ID, primary_key=True),
        sa.Column("n", sa.Integer, primary_key=True),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
    )
    position = op.create_table(
        "position",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("log_id", sa.Text, nullable=False),
        sa.Column("entries", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(position, [{"id": 1, "log_id": "", "entries": 0}])
