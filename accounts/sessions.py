"""Sessions: one for each log-in, and the refresh tokens by which it goes on.

A refresh token is the session's id and a secret that holds once: renewing the session makes the next secret
out of the last one and a seed that only the database has. So an answer that was lost on its way can be given
again, for ten seconds, although nothing but hashes is kept. Any other secret than the last two was used
before: a thief has it, or its owner has and the thief was quicker, and the session ends for both.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import ColumnElement, RowMapping, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from accounts.model import User
from accounts.tables import SESSIONS, USERS, user_of
from shared.sql.database import Database

GRACE: Final = timedelta(seconds=10)
_ID_BYTES: Final = 16
_SECRET_BYTES: Final = 32
_TOKEN: Final = re.compile(r"([0-9a-f]{32})\.([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session that goes on, and the only refresh token that renews it."""

    id: str
    user_id: str
    refresh_token: str


class Refusal(StrEnum):
    """Why a session does not go on."""

    UNKNOWN = "unknown or ended"
    EXPIRED = "expired"
    REUSED = "used before"


class SessionStore:
    """Sessions in SQL. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database, *, lifetime_seconds: float, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._lifetime = timedelta(seconds=lifetime_seconds)
        self._clock = clock

    async def begin(self, user_id: str, password_hash: str) -> Session | None:
        """A session of this user, or None where it has gone meanwhile, or has another password by now."""
        now, session_id, secret = self._clock(), secrets.token_hex(_ID_BYTES), _text(_fresh())
        row = {
            "id": session_id,
            "user_id": user_id,
            "seed": _text(_fresh()),
            "current": _hash(secret),
            "renewed_at": now,
            "expires_at": now + self._lifetime,
        }
        same = (USERS.c.id == user_id) & (USERS.c.password_hash == password_hash)

        async def work(connection: AsyncConnection) -> Session | None:
            found = await connection.execute(select(USERS.c.id).where(same).with_for_update())
            if found.one_or_none() is None:
                return None
            await connection.execute(insert(SESSIONS), row)
            return _session(session_id, user_id, secret)

        return await self._database.transaction(work)

    async def renew(self, refresh_token: str) -> tuple[Session, User] | Refusal:
        """The session with its next token, and whose it is. A token that was used before ends it."""
        parts = _TOKEN.fullmatch(refresh_token)
        if parts is None:
            return Refusal.UNKNOWN
        session_id, secret = parts.groups()

        async def work(connection: AsyncConnection) -> tuple[Session, User] | Refusal:
            found = select(SESSIONS).where(SESSIONS.c.id == session_id).with_for_update()
            row = (await connection.execute(found)).mappings().one_or_none()
            if row is None:
                return Refusal.UNKNOWN
            following = _following(row["seed"], secret)
            refusal = self._judge(row, secret, following)
            if refusal is not None:
                await connection.execute(delete(SESSIONS).where(SESSIONS.c.id == session_id))
                return refusal
            if row["current"] == _hash(secret):
                step = {"current": _hash(following), "previous": _hash(secret), "renewed_at": self._clock()}
                await connection.execute(update(SESSIONS).where(SESSIONS.c.id == session_id).values(step))
            owner = await connection.execute(select(USERS).where(USERS.c.id == row["user_id"]))
            return _session(session_id, row["user_id"], following), user_of(owner.mappings().one())

        return await self._database.transaction(work)

    async def end(self, session_id: str) -> None:
        """Signs out."""
        await self._delete(SESSIONS.c.id == session_id)

    async def sweep(self) -> None:
        """Forgets what has expired."""
        await self._delete(SESSIONS.c.expires_at < self._clock())

    async def _delete(self, which: ColumnElement[bool]) -> None:
        statement = delete(SESSIONS).where(which)
        await self._database.transaction(lambda connection: connection.execute(statement))

    def _judge(self, row: RowMapping, secret: str, following: str) -> Refusal | None:
        now = self._clock()
        if row["expires_at"] <= now:
            return Refusal.EXPIRED
        if row["current"] == _hash(secret):
            return None
        is_last = row["previous"] == _hash(secret) and row["current"] == _hash(following)
        return None if is_last and now - row["renewed_at"] <= GRACE else Refusal.REUSED


def _session(session_id: str, user_id: str, secret: str) -> Session:
    return Session(id=session_id, user_id=user_id, refresh_token=f"{session_id}.{secret}")


def _following(seed: str, secret: str) -> str:
    return _text(hmac.digest(seed.encode(), secret.encode(), "sha256"))


def _fresh() -> bytes:
    return secrets.token_bytes(_SECRET_BYTES)


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode("ascii")


def _hash(secret: str) -> str:
    """They are 256 random bits, so that one round of a fast hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()
