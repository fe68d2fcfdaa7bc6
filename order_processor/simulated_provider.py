"""A payment provider for trials and tests: it moves no money, and can be as unreliable as a real one.

What it remembers lies in the store under keys of its own, as it would at a provider: a processor that dies
forgets nothing of it.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import Final

from order_processor.provider import Authorised, Charge, Declined, ProviderUnanswered
from shared import keyspace
from shared.errors import StoreUnavailable
from shared.redis.client import BrokenKey, Redis, store_deadline
from shared.redis.scripts import Script

LATE_SECONDS: Final = 2.0
"""How much later a request does its work that nobody waits for any more."""
TOO_MUCH: Final = "insufficient_funds"
VOIDED: Final = "voided"


class Mishap(Enum):
    """What becomes of a request: it is lost, or does its work and its answer is lost, or it does its work
    after its caller has given up, or does it twice.
    """

    LOST = auto()
    UNANSWERED = auto()
    LATE = auto()
    TWICE = auto()


class SimulatedProvider:
    """Declines what costs more than ``limit``, in the currency's smallest unit. Of a hundred requests
    ``mishaps`` go wrong.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        timeout_seconds: float,
        limit: int,
        mishaps: int = 0,
        dice: random.Random | None = None,
    ) -> None:
        self._redis = redis
        self._timeout_seconds = timeout_seconds
        self._limit = limit
        self._mishaps = mishaps
        self._dice = dice or random.Random()
        self._script = Script.load("order_processor", "provider")
        self._late: set[asyncio.Task[str]] = set()

    async def authorise(self, charge: Charge) -> Authorised | Declined:
        """See PaymentProvider."""
        answer = await self._asked(lambda: self._run("authorise", charge.key, charge))
        if answer == "authorised":
            return Authorised()
        return Declined(reason=VOIDED if answer == VOIDED else TOO_MUCH)

    async def void(self, key: str) -> None:
        """See PaymentProvider."""
        await self._asked(lambda: self._run("void", key))

    async def _asked(self, request: Callable[[], Awaitable[str]]) -> str:
        mishap = self._dice.choice(list(Mishap)) if self._dice.uniform(0, 100) < self._mishaps else None
        if mishap is Mishap.LATE:
            task = asyncio.ensure_future(self._later(request))
            self._late.add(task)
            task.add_done_callback(self._late.discard)
        if mishap in (Mishap.LATE, Mishap.LOST):
            raise ProviderUnanswered("no answer")
        answer = await request()
        if mishap is Mishap.UNANSWERED:
            raise ProviderUnanswered("the answer was lost")
        return await request() if mishap is Mishap.TWICE else answer

    async def _later(self, request: Callable[[], Awaitable[str]]) -> str:
        await asyncio.sleep(LATE_SECONDS)
        return await request()

    async def _run(self, what: str, key: str, charge: Charge | None = None) -> str:
        amount, currency = (0, "") if charge is None else (charge.amount, charge.currency)
        arguments: list[str | int] = [what, amount, currency, self._limit]
        try:
            async with store_deadline(self._timeout_seconds):
                answer: str = await self._script.run(self._redis, [keyspace.provider(key)], arguments)
        except (StoreUnavailable, BrokenKey) as error:
            raise ProviderUnanswered(str(error)) from error
        return answer
