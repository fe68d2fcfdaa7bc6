"""Endpoints in SQL. Every method raises DatabaseUnavailable."""

import secrets
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import RowMapping, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.ids import time_ordered_id
from shared.sql.database import Database
from shared.sql.turns import take_turns
from webhooks.model import SECOND, WebhookEndpoint
from webhooks.schema import ENDPOINTS

SECRET_BYTES: Final = 32
Clock = Callable[[], int]
"""Microseconds since the epoch."""


class TooManyEndpoints(Exception):
    """Raised when an owner has as many endpoints as one may have."""


class EndpointStore:
    """What owners do with their endpoints. Another's endpoint is as unknown to them as one that is not."""

    def __init__(self, database: Database, clock: Clock, *, most: int, grace_seconds: float) -> None:
        """``most`` is what one owner may have; a replaced secret signs too for ``grace_seconds``."""
        self._database = database
        self._clock = clock
        self._most = most
        self._grace = int(grace_seconds * SECOND)

    async def create(
        self, owner: str, url: str, events: Sequence[str], description: str
    ) -> tuple[WebhookEndpoint, str]:
        """The new endpoint and its secret, which is shown this once. Raises TooManyEndpoints."""
        secret = _secret()
        row = {
            "id": time_ordered_id(),
            "owner": owner,
            "url": url,
            "description": description,
            "events": " ".join(events),
            "created_at": self._clock(),
            "secret": secret,
            "sequence": 0,
            "failures": 0,
            "held_until": 0,
        }

        async def write(connection: AsyncConnection) -> WebhookEndpoint:
            await connection.run_sync(take_turns, f"webhooks of {owner}")
            await connection.execute(insert(ENDPOINTS).values(row))
            count = select(func.count()).where(ENDPOINTS.c.owner == owner)
            if (await connection.execute(count)).scalar_one() > self._most:
                raise TooManyEndpoints
            return await _found(connection, owner, str(row["id"]))

        return await self._database.transaction(write), secret

    async def of_owner(self, owner: str) -> Sequence[WebhookEndpoint]:
        """All of an owner's endpoints, oldest first."""
        query = select(ENDPOINTS).where(ENDPOINTS.c.owner == owner).order_by(ENDPOINTS.c.id)

        async def read(connection: AsyncConnection) -> Sequence[WebhookEndpoint]:
            return [_endpoint(row) for row in (await connection.execute(query)).mappings()]

        return await self._database.transaction(read)

    async def get(self, owner: str, endpoint_id: str) -> WebhookEndpoint:
        """One of them. Raises UnknownEndpoint."""

        async def read(connection: AsyncConnection) -> WebhookEndpoint:
            return await _found(connection, owner, endpoint_id, locks=False)

        return await self._database.transaction(read)

    async def change(self, owner: str, endpoint_id: str, changes: Mapping[str, Any]) -> WebhookEndpoint:
        """Changes columns; one that is not disabled begins afresh. Raises UnknownEndpoint."""
        begun = {"failing_since": None, "failures": 0, "held_until": 0}

        async def write(connection: AsyncConnection) -> WebhookEndpoint:
            before = await _found(connection, owner, endpoint_id)
            afresh = begun if changes.get("disabled_reason", before.disabled_reason) is None else {}
            change = update(ENDPOINTS).where(ENDPOINTS.c.id == endpoint_id)
            await connection.execute(change.values(**changes, **afresh))
            return await _found(connection, owner, endpoint_id)

        return await self._database.transaction(write)

    async def rotate(self, owner: str, endpoint_id: str) -> tuple[WebhookEndpoint, str]:
        """A new secret, beside which the one before it signs for the grace time. Raises UnknownEndpoint."""
        secret, until = _secret(), self._clock() + self._grace

        async def write(connection: AsyncConnection) -> WebhookEndpoint:
            found = await _found(connection, owner, endpoint_id)
            rotated = update(ENDPOINTS).where(ENDPOINTS.c.id == endpoint_id)
            await connection.execute(
                rotated.values(previous_secret=ENDPOINTS.c.secret, previous_until=until, secret=secret)
            )
            return found

        return await self._database.transaction(write), secret

    async def remove(self, owner: str, endpoint_id: str) -> None:
        """It is gone, with all that was to be delivered to it. Raises UnknownEndpoint."""

        async def write(connection: AsyncConnection) -> None:
            await _found(connection, owner, endpoint_id)
            await connection.execute(delete(ENDPOINTS).where(ENDPOINTS.c.id == endpoint_id))

        await self._database.transaction(write)

    async def forget_owners(self, owners: Sequence[str]) -> None:
        """Removes all that owners had who are gone."""

        async def write(connection: AsyncConnection) -> None:
            await connection.execute(delete(ENDPOINTS).where(ENDPOINTS.c.owner.in_(owners)))

        await self._database.transaction(write)


class UnknownEndpoint(Exception):
    """Raised when the owner has no such endpoint."""


async def _found(
    connection: AsyncConnection, owner: str, endpoint_id: str, *, locks: bool = True
) -> WebhookEndpoint:
    query = select(ENDPOINTS).where(ENDPOINTS.c.id == endpoint_id, ENDPOINTS.c.owner == owner)
    row = (await connection.execute(query.with_for_update() if locks else query)).mappings().one_or_none()
    if row is None:
        raise UnknownEndpoint
    return _endpoint(row)


def _endpoint(row: RowMapping) -> WebhookEndpoint:
    return WebhookEndpoint(
        id=row["id"],
        owner=row["owner"],
        url=row["url"],
        description=row["description"],
        events=row["events"].split(" "),
        created_at=row["created_at"],
        disabled_reason=row["disabled_reason"],
        failing_since=row["failing_since"],
        sequence=row["sequence"],
    )


def _secret() -> str:
    return f"whsec_{b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}"
