"""The tables as code writes to them; ``migrations`` makes them. Times are microseconds since the epoch."""

from typing import Final

from sqlalchemy import BigInteger, Column, ColumnElement, Integer, MetaData, Table, Text, literal_column

from shared.orders.position import position_table
from shared.webhooks.schemas import DeliveryStatus

METADATA: Final = MetaData()
ENDPOINTS: Final = Table(
    "endpoints",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("events", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("disabled_reason", Text),
    Column("secret", Text, nullable=False),
    Column("previous_secret", Text),
    Column("previous_until", BigInteger),
    Column("sequence", BigInteger, nullable=False),
    Column("failing_since", BigInteger),
    Column("failures", Integer, nullable=False),
    Column("held_until", BigInteger, nullable=False),
)
"""``events`` are types with blanks between them. ``sequence`` is the number of the latest delivery. Since
``failing_since`` every attempt has failed, ``failures`` of them; until ``held_until`` there is no other.
"""
DELIVERIES: Final = Table(
    "deliveries",
    METADATA,
    Column("endpoint_id", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("event_id", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("order_id", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("leased_until", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)
"""``attempts`` are all that there were, ``tries`` those since it was last asked for. At ``due_at`` comes the
next; the sender that has the lease makes it. After ``expires_at`` none follows.
"""
IS_PENDING: Final[ColumnElement[bool]] = DELIVERIES.c.status == literal_column(f"'{DeliveryStatus.PENDING}'")
"""Written out, so that the index is found that has these rows alone."""
ATTEMPTS: Final = Table(
    "attempts",
    METADATA,
    Column("endpoint_id", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("milliseconds", Integer, nullable=False),
    Column("status", Integer),
    Column("error", Text),
)
POSITION: Final = position_table(METADATA)
