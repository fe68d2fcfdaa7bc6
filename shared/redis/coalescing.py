"""Concurrent script calls of one process as few round trips."""

from collections.abc import Sequence
from typing import Any, Final

from shared.gathering import Gathering
from shared.redis.client import BrokenKey, Redis, late, outage, store_deadline
from shared.redis.scripts import Script, ScriptCall
from shared.tracing import part

LARGEST_BATCH: Final = 512
ROUND_TRIPS_AT_ONCE: Final = 2
"""The next batch is written while the last is waited for; more would only make batches small."""


class CoalescedScript:
    """One script, run for many callers at a time; each gets the answer to its own call."""

    def __init__(self, script: Script, redis: Redis, *, timeout_seconds: float) -> None:
        self._script = script
        self._redis = redis
        self._timeout_seconds = timeout_seconds
        self._gathering: Gathering[ScriptCall, Any] = Gathering(
            self._run_many,
            fitting=lambda calls: min(len(calls), LARGEST_BATCH),
            at_once=ROUND_TRIPS_AT_ONCE,
            timeout_seconds=timeout_seconds,
            late=late,
        )

    async def run(self, call: ScriptCall) -> Any:
        """What the script returned. Raises StoreUnavailable, for a broken key and after the deadline too: ask
        again later. A call whose caller has given up is taken back only where it has not been sent yet.
        """
        with part(self._script.span_name, "client"):
            return await self._gathering.answer(call)

    async def _run_many(self, calls: Sequence[ScriptCall]) -> list[Any]:
        async with store_deadline(self._timeout_seconds):
            results = await self._script.run_many(self._redis, calls)
        return [outage(result) if isinstance(result, BrokenKey) else result for result in results]
