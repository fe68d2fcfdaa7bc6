"""One at a time looks at the dead letters, whichever dashboard it asks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from shared.errors import StoreUnavailable
from shared.logs import get_logger
from shared.messaging.dead_letters import DeadLettersBusy
from shared.redis.lease import Lease

LEASE_SECONDS: Final = 15.0
RENEW_SECONDS: Final = 4.0
TURN_SECONDS: Final = 5.0
"""How long to wait for the one who looks at present."""
ASK_AGAIN_SECONDS: Final = 0.1

log = get_logger(__name__)


class RedisTurns:
    """A lock within this process, and a lease among several."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._lock.acquire()
        except TimeoutError as error:
            raise DeadLettersBusy("somebody else is looking at the dead letters") from error
        try:
            await self._take_lease()
            renewing = asyncio.create_task(self._renew())
            try:
                yield
            finally:
                renewing.cancel()
                await asyncio.gather(renewing, return_exceptions=True)
                with contextlib.suppress(StoreUnavailable):  # then it ends by itself
                    await self._lease.release()
        finally:
            self._lock.release()

    async def _take_lease(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + TURN_SECONDS
        while not await self._lease.hold(LEASE_SECONDS):
            if loop.time() > deadline:
                raise DeadLettersBusy("another dashboard is looking at the dead letters")
            await asyncio.sleep(ASK_AGAIN_SECONDS)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                await self._lease.hold(LEASE_SECONDS)
            except StoreUnavailable as error:
                log.warning("lease not renewed", reason=str(error))
