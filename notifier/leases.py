"""Keeping a claim in force while a slow receiver takes its time."""

import asyncio
from collections.abc import Sequence

from notifier.ports import Attempt, NotificationStore
from shared.errors import StoreUnavailable
from shared.logs import get_logger

log = get_logger(__name__)


class LeaseRenewal:
    """Claims again every ``every_seconds``, from its making on until it is ended."""

    def __init__(self, store: NotificationStore, attempts: Sequence[Attempt], every_seconds: float) -> None:
        self._store = store
        self._attempts = attempts
        self._every_seconds = every_seconds
        self._task: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(every_seconds, self._begin)

    async def end(self) -> None:
        """Claims no more once this has returned."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while True:
            try:
                await self._store.claim(self._attempts)
            except StoreUnavailable as error:
                log.debug("claim not renewed", event_id=self._attempts[0].notification.id, reason=str(error))
            await asyncio.sleep(self._every_seconds)
