"""Keeps asking whether Redis answers, so that readiness can tell without waiting."""

import asyncio

from redis.exceptions import RedisError

from shared.errors import StoreUnavailable
from shared.logs import get_logger
from shared.redis.client import Redis, store_deadline

log = get_logger(__name__)


class StoreWatch:
    """Remembers whether the last ping was answered."""

    def __init__(self, redis: Redis, *, timeout_seconds: float, pause_seconds: float = 1.0) -> None:
        self._redis = redis
        self._timeout_seconds = timeout_seconds
        self._pause_seconds = pause_seconds
        self._reason: str | None = "not reached yet"

    def unready_reason(self) -> str | None:
        """Why the store cannot be used, or None."""
        return self._reason

    async def run(self) -> None:
        """Asks again and again, until cancelled."""
        while True:
            before, self._reason = self._reason, await self._ask()
            if before != self._reason:
                log.info("store reached") if self._reason is None else log.warning(
                    "store away", reason=self._reason
                )
            await asyncio.sleep(self._pause_seconds)

    async def _ask(self) -> str | None:
        try:
            async with store_deadline(self._timeout_seconds):
                await self._redis.ping()
        except (StoreUnavailable, RedisError) as error:
            return str(error)
        return None
