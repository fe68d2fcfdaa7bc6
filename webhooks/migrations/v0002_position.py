"""How far the log of steps was read. Before, webhooks consumed a queue."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Not read yet: what the queue had is told from the records of orders."""
    position = op.create_table(
        "position",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("log_id", sa.Text, nullable=False),
        sa.Column("entries", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(position, [{"id": 1, "log_id": "", "entries": 0}])
