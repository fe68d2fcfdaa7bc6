"""What a customer declined to be told is found as what it was told is."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

NAME = "order_events_told"
TOLD = sa.text("type IN ('notified', 'notification_failed', 'notification_declined')")


def upgrade() -> None:
    """The index of notifications, with one more kind of step."""
    op.drop_index(NAME, "order_events")
    op.create_index(NAME, "order_events", ["at", "order_id", "n"], postgresql_where=TOLD, sqlite_where=TOLD)
