"""What is told of users, and what is yet to be erased of those who are gone."""

import sqlalchemy as sa
from alembic import op

from shared.sql.outbox import outbox_table

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Adds both."""
    op.add_column("users", sa.Column("steps", sa.Integer, nullable=False, server_default="0"))
    op.create_table(
        "erasures",
        sa.Column("user_id", sa.String(36), primary_key=True),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
    )
    outbox_table(sa.MetaData()).create(op.get_bind())
