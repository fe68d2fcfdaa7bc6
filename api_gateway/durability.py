"""Whether Redis keeps what it acknowledges. Only then may the gateway accept orders while no broker is up.

Measured: with ``appendfsync everysec`` thousands of acknowledged writes were lost while fsync stalled.
``appendfsync always`` is reported even while ``appendonly`` is ``no``, so both are read. It is
reported too while ``no-appendfsync-on-rewrite`` lets Redis acknowledge without fsync during a rewrite.
"""

import asyncio
from typing import Final

from redis.exceptions import RedisError, ResponseError

from shared.errors import StoreUnavailable
from shared.logs import get_logger
from shared.redis.client import Redis, store_deadline

NEEDED: Final = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
FORBIDDEN: Final = {"no-appendfsync-on-rewrite": "yes"}
UNKNOWN: Final = "weak (not checked yet)"
DURABLE: Final = "durable"

log = get_logger(__name__)


class DurabilityWatch:
    """Keeps asking the store for its settings and remembers the verdict."""

    def __init__(self, redis: Redis, *, timeout_seconds: float, pause_seconds: float = 2.0) -> None:
        self._redis = redis
        self._timeout_seconds = timeout_seconds
        self._pause_seconds = pause_seconds
        self._verdict = UNKNOWN
        self._away: str | None = "not reached yet"

    def is_durable(self) -> bool:
        """Whether the last check found the store to keep what it acknowledges."""
        return self._verdict == DURABLE

    def verdict(self) -> str:
        """One line for readiness."""
        return self._verdict

    def unready_reason(self) -> str | None:
        """Why the store could not be reached at the last check, or None."""
        return self._away

    async def run(self) -> None:
        """Checks again and again, until cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(self._pause_seconds)

    async def check(self) -> None:
        """Asks once. A store that cannot be asked counts as weak until it answers."""
        before = self._verdict
        try:
            self._verdict = await self._ask()
            self._away = None
        except StoreUnavailable as error:
            self._verdict, self._away = "weak (the store cannot be reached)", str(error)
        if before != self._verdict:
            level = log.info if self.is_durable() else log.warning
            level("store durability", verdict=self._verdict)

    async def _ask(self) -> str:
        try:
            async with store_deadline(self._timeout_seconds):
                await self._redis.ping()
                settings = await self._redis.config_get(*NEEDED, *FORBIDDEN)
                clients = await self._redis.client_list()
        except ResponseError as error:
            return f"weak (the store does not show its settings: {error})"
        except RedisError as error:
            raise StoreUnavailable(str(error)) from error
        wrong = [
            f"{name} is {settings.get(name)}" for name, value in NEEDED.items() if settings.get(name) != value
        ]
        wrong += [f"{name} is {value}" for name, value in FORBIDDEN.items() if settings.get(name) == value]
        if any(str(client.get("name", "")).startswith("sentinel-") for client in clients):
            wrong.append("a Sentinel failover may lose acknowledged writes")
        return f"weak ({', '.join(wrong)})" if wrong else DURABLE
