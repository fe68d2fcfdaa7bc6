"""The tables of accounts, as the migrations have made them."""

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Integer,
    MetaData,
    RowMapping,
    String,
    Table,
    Text,
    TypeDecorator,
)

from accounts.model import User
from shared.http.auth import Role
from shared.sql.outbox import outbox_table


class Instant(TypeDecorator[datetime]):
    """A time in UTC. SQLite keeps no zones, so it is given none and asked for none."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value if value is None or dialect.name != "sqlite" else value.replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


METADATA: Final = MetaData()

USERS: Final = Table(
    "users",
    METADATA,
    Column("id", String(36), primary_key=True),
    Column("username", String(64), nullable=False),
    Column("username_key", String(64), nullable=False, unique=True),
    Column("email", String(254), nullable=False),
    Column("email_key", String(320), nullable=False, unique=True),
    Column("password_hash", Text, nullable=False),
    Column("role", String(16), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("steps", Integer, nullable=False, server_default="0"),
)
"""``…_key`` is what must differ: see ``accounts.model``. ``steps`` counts what was told of a user."""


def user_of(row: RowMapping) -> User:
    """The user of a row."""
    created_at: datetime = row["created_at"]
    return User(
        id=row["id"],
        username=row["username"],
        email=row["email"],
        role=Role(row["role"]),
        created_at=created_at,
    )


SESSIONS: Final = Table(
    "sessions",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("user_id", String(36), ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("seed", String(64), nullable=False),
    Column("current", String(64), nullable=False),
    Column("previous", String(64)),
    Column("renewed_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False, index=True),
)
"""One row for each log-in; its refresh tokens follow one another, and only hashes of two are kept."""

SIGNING_KEYS: Final = Table(
    "signing_keys",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("active", Integer, unique=True),
    Column("public", Text, nullable=False),
    Column("private", Text),
    Column("retired_at", Instant),
)
"""One row has ``active`` = 1 and its private half; the others have null in both."""

ERASURES: Final = Table(
    "erasures",
    METADATA,
    Column("user_id", String(36), primary_key=True),
    Column("asked_at", Instant, nullable=False),
)
"""Those who are gone, and of whom something may be left in the store."""

OUTBOX: Final = outbox_table(METADATA)
