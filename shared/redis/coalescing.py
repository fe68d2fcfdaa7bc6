"""Concurrent script calls of one process as few round trips.

Whatever is asked for in the same turn of the event loop, or while as many round trips as may be are under
way, goes out together: an idle service waits for nobody, a busy one spends one pipeline on many requests.
"""

import asyncio
from collections import deque
from typing import Any, Final

from shared.redis.client import BrokenKey, Redis, late, outage, store_deadline
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
        self._unanswered: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, call: ScriptCall) -> Any:
        """What the script returned. Raises StoreUnavailable, for a broken key and after the deadline too: ask
        again later. A call whose caller has given up is taken back only where it has not been sent yet.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((call, answer))
        self._unanswered.append((loop.time() + self._timeout_seconds, answer))
        if self._timer is None:
            self._timer = loop.call_later(self._timeout_seconds, self._give_up)
        if self._sending == 0 or (self._sending < ROUND_TRIPS_AT_ONCE and len(self._waiting) == 1):
            self._sending += 1
            sender = asyncio.create_task(self._send_all())
            self._senders.add(sender)
            sender.add_done_callback(self._senders.discard)
        return await answer

    def _give_up(self) -> None:
        """Ends what has waited for too long. All callers share a timer, which costs as much as a call."""
        loop, unanswered = asyncio.get_running_loop(), self._unanswered
        self._timer = None
        while unanswered:
            due, answer = unanswered[0]
            if not answer.done():
                if due > loop.time():
                    self._timer = loop.call_at(due, self._give_up)
                    return
                answer.set_exception(late(self._timeout_seconds))
            unanswered.popleft()

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
