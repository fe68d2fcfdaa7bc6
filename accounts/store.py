"""Users in SQL."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

from sqlalchemy import ColumnElement, Delete, RowMapping, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from accounts.model import OPERATOR_ID, Credentials, NameTaken, User, email_key, name_key
from accounts.tables import ERASURES, OUTBOX, SESSIONS, USERS, user_of
from shared.http.auth import Caller, Role
from shared.messages import Trace
from shared.shop_events import UserCreated, UserDeleted, UserLogin, UserStep, UserUpdated, shop_event
from shared.sql.database import Database
from shared.sql.outbox import EVENTS, SqlOutbox

SOURCE: Final = "accounts"
ZERO: Final = "\0"
"""No text in PostgreSQL has it, and it is an error to ask for one."""
MOST_ERASED: Final = 1_000
"""Users who are read at a time."""

Found = TypeVar("Found")


class UserStore:
    """Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self.outbox = SqlOutbox(database, OUTBOX)

    async def add(self, user: User, password_hash: str, trace: Trace) -> None:
        """Keeps a new user. Raises NameTaken."""
        row = {
            "id": user.id,
            "username_key": name_key(user.username),
            "username": user.username,
            "password_hash": password_hash,
            "role": user.role.value,
            "created_at": user.created_at,
            **_address(user.email),
        }

        async def write(connection: AsyncConnection) -> None:
            await connection.execute(insert(USERS), row)
            await self._tell(connection, UserCreated, user.id, user.role, 0, trace)

        try:
            await self._database.transaction(write)
        except IntegrityError as error:
            await self.check_free(username=user.username, email=user.email)
            raise NameTaken("id") from error

    async def check_free(self, *, username: str, email: str) -> None:
        """Raises NameTaken where another account has either."""
        taken = (USERS.c.username_key == name_key(username)) | (USERS.c.email_key == email_key(email))

        async def find(connection: AsyncConnection) -> Sequence[RowMapping]:
            return (await connection.execute(select(USERS.c.username_key).where(taken))).mappings().all()

        names = [row["username_key"] for row in await self._database.transaction(find)]
        if names:
            raise NameTaken("username" if name_key(username) in names else "email")

    async def get(self, user_id: str) -> User | None:
        """One user."""
        return await self._one(USERS.c.id == user_id, user_of)

    async def confirms(self, caller: Caller) -> bool:
        """Whether the caller's role still is what its token says. The operator's is not kept here."""
        if caller.id == OPERATOR_ID:
            return True
        found = await self.get(caller.id or "")
        return found is not None and found.role is caller.role

    async def credentials(self, user_id: str) -> Credentials | None:
        """The user with what its password is compared with."""
        return await self._one(USERS.c.id == user_id, _credentials)

    async def credentials_of(self, name: str) -> Credentials | None:
        """The user who signs in under a name, or an address, which alone has an @."""
        if ZERO in name:
            return None
        if "@" not in name:
            return await self._one(USERS.c.username_key == name_key(name), _credentials)
        try:
            key = email_key(name)
        except ValueError:
            return None
        return await self._one(USERS.c.email_key == key, _credentials)

    async def page(self, limit: int, before: str | None, username: str | None) -> Sequence[User]:
        """Up to ``limit`` users, newest first, that came before the one of that id."""
        query = select(USERS).order_by(USERS.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(USERS.c.id < before)
        if username is not None:
            query = query.where(USERS.c.username_key == name_key(username))

        async def read(connection: AsyncConnection) -> Sequence[User]:
            return [user_of(row) for row in (await connection.execute(query)).mappings()]

        return await self._database.transaction(read)

    async def count(self) -> Mapping[str, int]:
        """How many users of each role there are."""
        query = select(USERS.c.role, func.count().label("users")).group_by(USERS.c.role)

        async def read(connection: AsyncConnection) -> Mapping[str, int]:
            return {row.role: row.users for row in await connection.execute(query)}

        return await self._database.transaction(read)

    async def signed_in(self, user: User, trace: Trace) -> None:
        """Tells that a user has signed in."""
        await self._step(user.id, {}, UserLogin, trace)

    async def change(
        self,
        user_id: str,
        trace: Trace,
        *,
        email: str | None = None,
        role: Role | None = None,
        password_hash: str | None = None,
        session: str | None = None,
    ) -> User | None:
        """Changes what is given, and gives the user as it is then. Raises NameTaken.

        With a new password every session ends in the same step, but the one named.
        """
        changes: dict[str, Any] = {
            **({} if email is None else _address(email)),
            **({} if role is None else {"role": role.value}),
            **({} if password_hash is None else {"password_hash": password_hash}),
        }
        others = (SESSIONS.c.user_id == user_id) & (SESSIONS.c.id != (session or ""))
        ended = None if password_hash is None else delete(SESSIONS).where(others)
        try:
            return await self._step(user_id, changes, UserUpdated, trace, ended)
        except IntegrityError as error:
            raise NameTaken("email") from error

    async def rehash(self, user_id: str, old: str, password_hash: str) -> None:
        """Keeps another hash of the same password, unless its owner has changed that meanwhile."""
        same = (USERS.c.id == user_id) & (USERS.c.password_hash == old)
        statement = update(USERS).where(same).values(password_hash=password_hash)
        await self._database.transaction(lambda connection: connection.execute(statement))

    async def remove(self, user_id: str, trace: Trace) -> bool:
        """Forgets a user and its sessions, and notes that more is to be erased; False where there is none."""
        gone = delete(USERS).where(USERS.c.id == user_id).returning(USERS)
        note = {"user_id": user_id, "asked_at": self._clock()}

        async def write(connection: AsyncConnection) -> bool:
            row = (await connection.execute(gone)).mappings().one_or_none()
            if row is None:
                return False
            await connection.execute(insert(ERASURES), note)
            await self._tell(connection, UserDeleted, user_id, Role(row["role"]), row["steps"] + 1, trace)
            return True

        return await self._database.transaction(write)

    async def to_be_erased(self, after: str) -> Mapping[str, datetime]:
        """Users who are gone, and since when, of whom the store may hold something: the next by their ids."""
        query = select(ERASURES).where(ERASURES.c.user_id > after).order_by(ERASURES.c.user_id)
        query = query.limit(MOST_ERASED)

        async def read(connection: AsyncConnection) -> Mapping[str, datetime]:
            return {row["user_id"]: row["asked_at"] for row in (await connection.execute(query)).mappings()}

        return await self._database.transaction(read)

    async def erased(self, user_id: str) -> None:
        """Nothing is left of that user."""
        statement = delete(ERASURES).where(ERASURES.c.user_id == user_id)
        await self._database.transaction(lambda connection: connection.execute(statement))

    async def _step(
        self,
        user_id: str,
        changes: Mapping[str, Any],
        kind: type[UserStep],
        trace: Trace,
        further: Delete | None = None,
    ) -> User | None:
        """Changes a user, does what belongs to it, and tells so; None where there is none."""
        values = {**changes, "steps": USERS.c.steps + 1}
        statement = update(USERS).where(USERS.c.id == user_id).values(values).returning(USERS)

        async def write(connection: AsyncConnection) -> User | None:
            row = (await connection.execute(statement)).mappings().one_or_none()
            if row is None:
                return None
            if further is not None:
                await connection.execute(further)
            user = user_of(row)
            await self._tell(connection, kind, user_id, user.role, row["steps"], trace)
            return user

        return await self._database.transaction(write)

    async def _tell(
        self,
        connection: AsyncConnection,
        kind: type[UserStep],
        user_id: str,
        role: Role,
        step: int,
        trace: Trace,
    ) -> None:
        """Promises an event. It has the id alone: a service that may know more asks for the user by it."""
        event = shop_event(
            kind(id=user_id, role=role.value),
            source=SOURCE,
            number=step,
            time=self._clock(),
            trace=trace,
        )
        await self.outbox.add(connection, EVENTS, user_id, event)

    async def _one(self, condition: ColumnElement[bool], read: Callable[[RowMapping], Found]) -> Found | None:
        async def work(connection: AsyncConnection) -> Found | None:
            row = (await connection.execute(select(USERS).where(condition))).mappings().one_or_none()
            return None if row is None else read(row)

        return await self._database.transaction(work)


def _address(email: str) -> dict[str, str]:
    return {"email": email, "email_key": email_key(email)}


def _credentials(row: RowMapping) -> Credentials:
    return Credentials(user=user_of(row), password_hash=row["password_hash"])
