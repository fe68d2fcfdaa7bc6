"""Users in SQL."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, RowMapping, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from accounts.model import Credentials, NameTaken, User, email_key, name_key
from accounts.tables import USERS
from shared.http.auth import Role
from shared.sql.database import Database

Found = TypeVar("Found")


class UserStore:
    """Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, user: User, password_hash: str) -> None:
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
        try:
            await self._database.transaction(lambda connection: connection.execute(insert(USERS), row))
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
        return await self._one(USERS.c.id == user_id, _user)

    async def credentials(self, user_id: str) -> Credentials | None:
        """The user with what its password is compared with."""
        return await self._one(USERS.c.id == user_id, _credentials)

    async def credentials_of(self, name: str) -> Credentials | None:
        """Whoever signs in under a name, or an address, which alone has an @."""
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
            return [_user(row) for row in (await connection.execute(query)).mappings()]

        return await self._database.transaction(read)

    async def change(
        self,
        user_id: str,
        *,
        email: str | None = None,
        role: Role | None = None,
        password_hash: str | None = None,
    ) -> User | None:
        """Changes what is given, and gives the user as it is then. Raises NameTaken."""
        changes: dict[str, Any] = {
            **({} if email is None else _address(email)),
            **({} if role is None else {"role": role.value}),
            **({} if password_hash is None else {"password_hash": password_hash}),
        }
        statement = update(USERS).where(USERS.c.id == user_id).values(changes).returning(USERS)

        async def write(connection: AsyncConnection) -> User | None:
            row = (await connection.execute(statement)).mappings().one_or_none()
            return None if row is None else _user(row)

        try:
            return await self._database.transaction(write)
        except IntegrityError as error:
            raise NameTaken("email") from error

    async def remove(self, user_id: str) -> bool:
        """Forgets a user and its sessions; False where there is none."""

        async def work(connection: AsyncConnection) -> bool:
            return bool((await connection.execute(delete(USERS).where(USERS.c.id == user_id))).rowcount)

        return await self._database.transaction(work)

    async def _one(self, condition: ColumnElement[bool], read: Callable[[RowMapping], Found]) -> Found | None:
        async def work(connection: AsyncConnection) -> Found | None:
            row = (await connection.execute(select(USERS).where(condition))).mappings().one_or_none()
            return None if row is None else read(row)

        return await self._database.transaction(work)


def _address(email: str) -> dict[str, str]:
    return {"email": email, "email_key": email_key(email)}


def _user(row: RowMapping) -> User:
    created_at: datetime = row["created_at"]
    return User(
        id=row["id"],
        username=row["username"],
        email=row["email"],
        role=Role(row["role"]),
        created_at=created_at,
    )


def _credentials(row: RowMapping) -> Credentials:
    return Credentials(user=_user(row), password_hash=row["password_hash"])
