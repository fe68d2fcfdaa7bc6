"""Concurrent script calls of one process as few round trips.

Whatever is asked for in the same turn of the event loop, or while as many round trips as may be are under
way, goes out together: an idle service waits for nobody, a busy one spends one pipeline on many requests.
"""

import asyncio
from typing import Any, Final

from shared.redis.client import BrokenKey, Redis, outage, store_deadline
from shared.redis.scripts import Script, ScriptCall

LARGEST_BATCH: Final = 512
ROUND_TRIPS_AT_ONCE: Final = 2
"""The next batch is written while the last is waited for; more would only make batches small."""

_Waiting = tuple[ScriptCall, asyncio.Future[Any]]


class CoalescedScript:
    """One script, run for many callers at a time; each gets the answer to its own call."""

    def __init__(self, script: Script, redis: Redis, *, timeout_seconds: float) -> None:
        self._script = script
        self._redis = redis
        self._timeout_seconds = timeout_seconds
        self._waiting: list[_Waiting] = []
        self._senders: set[asyncio.Task[None]] = set()
        self._sending = 0

    async def run(self, call: ScriptCall) -> Any:
        """What the script returned. Raises StoreUnavailable, for a broken key too: ask again later.

        How long to wait is the caller's to say, by ``store_deadline``. A caller that gives up takes its call
        back only where it has not been sent yet.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((call, answer))
        if self._sending == 0 or (self._sending < ROUND_TRIPS_AT_ONCE and len(self._waiting) == 1):
            self._sending += 1
            sender = asyncio.create_task(self._send_all())
            self._senders.add(sender)
            sender.add_done_callback(self._senders.discard)
        return await answer

    async def _send_all(self) -> None:
        try:
            while batch := self._waiting[:LARGEST_BATCH]:
                del self._waiting[: len(batch)]
                wanted = [(call, answer) for call, answer in batch if not answer.done()]
                if wanted:
                    await self._send_batch(wanted)
        finally:
            self._sending -= 1  # here and not when the task is seen to be done: a call may come in between

    async def _send_batch(self, batch: list[_Waiting]) -> None:
        try:
            async with store_deadline(self._timeout_seconds):
                results = await self._script.run_many(self._redis, [call for call, _ in batch])
        except Exception as error:  # noqa: BLE001 - every caller is told, and judges it as if it had asked alone
            results = [error] * len(batch)
        except asyncio.CancelledError:
            for _, answer in batch:
                answer.cancel()
            raise
        for (_, answer), result in zip(batch, results, strict=True):
            if answer.done():
                continue
            if isinstance(result, BrokenKey):
                answer.set_exception(outage(result))
            elif isinstance(result, Exception):
                answer.set_exception(result)
            else:
                answer.set_result(result)
