"""Whether Redis can do a service's work, and whether it keeps what it acknowledged; asked again and again.

Ability is proved by a small write with every right to commands that the scripts of this process need, and to
every key that its service needs: a replica, a full store, a full disk or a user without rights answers a
ping. What the service itself was refused a moment ago counts too, for commands that stand in no script.

Durability is asked for where orders are accepted while no broker is up. Measured: with ``appendfsync
everysec`` thousands of acknowledged writes were lost while fsync stalled. ``appendfsync always`` is reported
even while ``appendonly`` is ``no``, so both are read. It is reported too while ``no-appendfsync-on-rewrite``
lets Redis acknowledge without fsync during a rewrite.
"""

import asyncio
from typing import Any, Final

from redis.exceptions import ResponseError

from shared import keyspace
from shared.errors import StoreUnavailable
from shared.logs import get_logger
from shared.redis.client import Redis, last_refusal, store_deadline
from shared.redis.rights import Rights
from shared.redis.scripts import Script, questions_of_loaded

NEEDED: Final = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
FORBIDDEN: Final = {"no-appendfsync-on-rewrite": "yes"}
UNKNOWN: Final = "weak (not checked yet)"
DURABLE: Final = "durable"
KEPT_MILLISECONDS: Final = 60_000
NONE: Final = Rights()

log = get_logger(__name__)


class StoreWatch:
    """Remembers what the last look at the store found."""

    def __init__(
        self,
        redis: Redis,
        *,
        timeout_seconds: float,
        pause_seconds: float = 1.0,
        asks_durability: bool = False,
        rights: Rights = NONE,
    ) -> None:
        """``rights`` to keys are looked for too."""
        self._redis: Any = redis
        self._timeout_seconds = timeout_seconds
        self._pause_seconds = pause_seconds
        self._asks_durability = asks_durability
        self._able = Script.load("shared.redis", "able")
        self._rights = rights
        self._reason: str | None = "not reached yet"
        self._verdict = UNKNOWN

    def unready_reason(self) -> str | None:
        """Why the store cannot be used, in its own words, or None."""
        return self._reason or last_refusal(self._redis)

    def is_durable(self) -> bool:
        """Whether the last look found the store to keep what it acknowledges."""
        return self._verdict == DURABLE

    def verdict(self) -> str:
        """One line about durability, for readiness."""
        return self._verdict

    async def run(self) -> None:
        """Looks again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._pause_seconds)

    async def look(self) -> None:
        """Looks once. A store that cannot be asked counts as weak until it answers."""
        reason, verdict = self._reason, self._verdict
        try:
            await self._prove()
            if self._asks_durability:
                self._verdict = await self._durability()
            self._reason = None
        except StoreUnavailable as error:
            self._reason = str(error)
            self._verdict = "weak (the store cannot be used)" if self._asks_durability else UNKNOWN
        if reason != self._reason:
            level = log.info if self._reason is None else log.warning
            level("store", reason=self._reason or "can be used")
        if verdict != self._verdict:
            level = log.info if self.is_durable() else log.warning
            level("store durability", verdict=self._verdict)

    async def _prove(self) -> None:
        needed = (*questions_of_loaded(keyspace.STORE_WATCH), *self._rights.questions())
        arguments: list[str | int] = ["watch", KEPT_MILLISECONDS]
        for right, words in needed:
            arguments += [len(words), right, *words]
        async with store_deadline(self._timeout_seconds):
            await self._able.run(self._redis, [keyspace.STORE_WATCH], arguments)

    async def _durability(self) -> str:
        async with store_deadline(self._timeout_seconds):
            try:
                settings = await self._redis.config_get(*NEEDED, *FORBIDDEN)
                clients = await self._redis.client_list()
            except ResponseError as error:
                return f"weak (the store does not show its settings: {error})"
        wrong = [
            f"{name} is {settings.get(name)}" for name, value in NEEDED.items() if settings.get(name) != value
        ]
        wrong += [f"{name} is {value}" for name, value in FORBIDDEN.items() if settings.get(name) == value]
        if any(str(client.get("name", "")).startswith("sentinel-") for client in clients):
            wrong.append("a Sentinel failover may lose acknowledged writes")
        return f"weak ({', '.join(wrong)})" if wrong else DURABLE
