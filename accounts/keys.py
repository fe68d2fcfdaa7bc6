"""The keys that sign access tokens: made at the first start, shared by all replicas through the database.

One key signs. A rotation makes another one and erases the private half of the last, whose public half
stays until the last of its tokens has expired. So no customer is signed out, and what is stolen with a later
copy of the database signs nothing under an older key.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from joserfc.jwk import OKPKey
from sqlalchemy import RowMapping, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from accounts.tables import SIGNING_KEYS
from shared.errors import DatabaseUnavailable
from shared.http.tokens import ALGORITHM
from shared.logs import get_logger
from shared.sql.database import Database

LOOK_SECONDS: Final = 5.0
LOOK_AGAIN_SECONDS: Final = 0.1
"""While there is no key yet: the database is being migrated, or away."""
LOOKED_LATELY: Final = timedelta(seconds=1)
MARGIN: Final = timedelta(seconds=60)
"""So long a replica may go on signing with a key that another one has retired, unequal clocks included."""

log = get_logger(__name__)


class SigningKeys:
    """The keys as they were when last looked at. ``find`` and ``generation`` are what the guard asks."""

    def __init__(self, database: Database, *, token_seconds: float, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._kept = timedelta(seconds=token_seconds) + MARGIN
        self._clock = clock
        self._signing: OKPKey | None = None
        self._public: dict[str, OKPKey] = {}
        self._looked_at = clock() - LOOKED_LATELY
        self.generation = 0

    def unready_reason(self) -> str | None:
        """Why nothing can be signed, or None."""
        return None if self._signing is not None else "no signing key has been read yet"

    @property
    def signing(self) -> OKPKey:
        """The key that signs. Raises DatabaseUnavailable where none has been read yet."""
        if self._signing is None:
            raise DatabaseUnavailable("no signing key has been read yet")
        return self._signing

    def public(self) -> Sequence[dict[str, Any]]:
        """The public half of every key of which a token may be about, as JWKs."""
        return [key.as_dict(private=False) for key in self._public.values()]

    async def find(self, key_id: str) -> OKPKey | None:
        """The key of this id. For one that is not known the database is asked, once a second at most."""
        if key_id not in self._public and self._clock() - self._looked_at >= LOOKED_LATELY:
            await self.look()
        return self._public.get(key_id)

    async def run(self) -> None:
        """Follows what other replicas do, until cancelled."""
        while True:
            with contextlib.suppress(DatabaseUnavailable):  # readiness says so already
                if self._database.unready_reason() is None:
                    await self.look()
            await asyncio.sleep(LOOK_AGAIN_SECONDS if self._signing is None else LOOK_SECONDS)

    async def look(self) -> None:
        """Reads the keys, and makes the first. Raises DatabaseUnavailable."""
        self._looked_at = self._clock()
        rows = await self._database.transaction(self._read)
        if not any(row["active"] for row in rows):
            await self._replace(None)
            rows = await self._database.transaction(self._read)
        public = {row["id"]: _key(row["public"], row["id"]) for row in rows}
        if self._public.keys() - public.keys():
            self.generation += 1
        self._public = public
        self._signing = next(_key(row["private"], row["id"]) for row in rows if row["active"])

    async def rotate(self, by: str) -> str:
        """Signs with a new key from now on, and gives its id. Raises DatabaseUnavailable."""
        await self._replace(self.signing.kid)
        await self.look()
        log.warning("audit", action="signing key rotated", key=self.signing.kid, by=by)
        return str(self.signing.kid)

    async def _read(self, connection: AsyncConnection) -> Sequence[RowMapping]:
        gone = SIGNING_KEYS.c.retired_at < self._clock() - self._kept
        await connection.execute(delete(SIGNING_KEYS).where(gone))
        return (await connection.execute(select(SIGNING_KEYS))).mappings().all()

    async def _replace(self, old: str | None) -> None:
        """Another replica that does the same at the same time does it for both."""
        key = OKPKey.generate_key("Ed25519", {"use": "sig", "alg": ALGORITHM})
        row = {
            "id": key.thumbprint(),
            "active": 1,
            "public": orjson.dumps(key.as_dict(private=False)).decode(),
            "private": orjson.dumps(key.as_dict(private=True)).decode(),
        }
        retired = {"active": None, "private": None, "retired_at": self._clock()}

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(update(SIGNING_KEYS).where(SIGNING_KEYS.c.id == old).values(retired))
            await connection.execute(insert(SIGNING_KEYS), row)

        try:
            await self._database.transaction(work)
        except IntegrityError:
            log.info("another replica has made a signing key meanwhile")


def _key(text: str, key_id: str) -> OKPKey:
    return OKPKey.import_key(orjson.loads(text) | {"kid": key_id})
