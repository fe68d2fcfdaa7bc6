"""A lease: one process at a time does a periodic job, and another takes over when it dies.

Time is Redis' own, so clocks of different machines do not matter. A holder that stalls past its lease may
overlap with the next one; jobs under a lease must therefore be harmless when done twice.
"""

import secrets

from shared.redis.client import Redis, store_deadline
from shared.redis.scripts import Script


class Lease:
    """One process's claim to a job."""

    def __init__(self, redis: Redis, key: str, *, timeout_seconds: float) -> None:
        self._redis = redis
        self._key = key
        self._timeout_seconds = timeout_seconds
        self._owner = secrets.token_hex(8)
        self._script = Script.load("shared.redis", "lease")

    async def hold(self, seconds: float) -> bool:
        """Takes or extends the lease; False while another holds it. Raises StoreUnavailable."""
        async with store_deadline(self._timeout_seconds):
            held = await self._script.run(self._redis, [self._key], [self._owner, round(seconds * 1000)])
        return bool(held)

    async def release(self) -> None:
        """Gives the lease up, so that another can take it at once. Raises StoreUnavailable."""
        await self.hold(0.001)
