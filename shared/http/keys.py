"""The public keys of accounts, by which tokens are verified here: also while accounts is away."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from shared.errors import ServiceUnavailable
from shared.http.tokens import ALGORITHM
from shared.logs import get_logger

JWKS_PATH: Final = "/.well-known/jwks.json"
DEADLINE_SECONDS: Final = 1.0
LEAST_PAUSE_SECONDS: Final = 1.0
"""However many tokens name keys that are not known, accounts is asked once a second at most."""
RENEWED_AFTER_SECONDS: Final = 60.0
"""A key that accounts has given up is good for so long at most."""
ASKED_AGAIN_AFTER_SECONDS: Final = 5.0
"""While it is away. Without any keys no token can be judged, and it is asked as often as may be."""
MOST_KEYS: Final = 32

log = get_logger(__name__)


class AccountsKeys(Protocol):
    """Where the keys come from: a client of accounts."""

    @property
    def name(self) -> str:
        """What it is called."""

    async def json(self, path: str, *, deadline_seconds: float | None = None) -> Any:
        """What it has there. Raises ServiceUnavailable."""


class RemoteKeys:
    """What accounts has at ``/.well-known/jwks.json``, kept while it is away."""

    def __init__(self, accounts: AccountsKeys, clock: Callable[[], float] = time.monotonic) -> None:
        self._accounts = accounts
        self._clock = clock
        self._keys: Mapping[str, OKPKey] = {}
        self._fault: ServiceUnavailable | None = ServiceUnavailable(
            accounts.name, "its keys are not here yet"
        )
        self._has_said = False
        self._asked_at = -LEAST_PAUSE_SECONDS
        self._asking: asyncio.Task[None] | None = None
        self.generation = 0

    async def find(self, key_id: str) -> OKPKey | None:
        """As the port has it. One that is not known may be new: accounts is asked, once for all who wait."""
        key = self._keys.get(key_id)
        if key is not None:
            return key
        await self._refreshed()
        key = self._keys.get(key_id)
        if key is None and self._fault is not None:
            raise ServiceUnavailable(self._fault.service, self._fault.reason)
        return key

    async def run(self) -> None:
        """Renews the keys again and again, until cancelled; no question outlives it."""
        try:
            while True:
                await self._refreshed()
                await asyncio.sleep(self._pause_seconds())
        finally:
            if self._asking is not None:
                self._asking.cancel()

    def _pause_seconds(self) -> float:
        if self._fault is None:
            return RENEWED_AFTER_SECONDS
        return ASKED_AGAIN_AFTER_SECONDS if self._keys else LEAST_PAUSE_SECONDS

    async def _refreshed(self) -> None:
        if self._asking is None or self._asking.done():
            since = self._clock() - self._asked_at
            if self._fault is not None and since < LEAST_PAUSE_SECONDS:
                return  # it was away a moment ago
            self._asking = asyncio.create_task(self._ask(LEAST_PAUSE_SECONDS - since))
        await asyncio.shield(self._asking)

    async def _ask(self, pause_seconds: float) -> None:
        """After a pause, where it has been asked lately."""
        if pause_seconds > 0:
            await asyncio.sleep(pause_seconds)
        self._asked_at = self._clock()
        try:
            keys = _keys_of(await self._accounts.json(JWKS_PATH, deadline_seconds=DEADLINE_SECONDS))
            fault = None if keys else "it gave no keys"
        except ServiceUnavailable as error:
            keys, fault = {}, error.reason
        if fault is not None:
            if self._fault is None or not self._has_said:
                log.warning("no news of the keys of accounts", reason=fault, known=len(self._keys))
            self._fault, self._has_said = ServiceUnavailable(self._accounts.name, fault), True
            return
        if not self._keys.keys() <= keys.keys():
            self.generation += 1
        if self._fault is not None:
            log.info("the keys of accounts are here", known=len(keys))
        self._keys, self._fault = keys, None


def _keys_of(told: Any) -> Mapping[str, OKPKey]:
    """Those of a key set that sign as access tokens are signed; others are for others."""
    found: dict[str, OKPKey] = {}
    given = told.get("keys") if isinstance(told, dict) else None
    for each in given[:MOST_KEYS] if isinstance(given, list) else ():
        if not isinstance(each, dict) or each.get("crv") != ALGORITHM or not isinstance(each.get("kid"), str):
            continue
        try:
            found[each["kid"]] = OKPKey.import_key(
                {"kty": "OKP", "crv": ALGORITHM, "x": each["x"], "kid": each["kid"]}
            )
        except (JoseError, ValueError, TypeError, KeyError):
            log.warning("accounts gave a key that cannot be read")
    return found
