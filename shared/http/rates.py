"""How often one client may ask: counted in this process' memory, before a body is read.

GCRA: a client has a time at which it will have used up nothing. Each request moves that time on by its share
of the rate, and is refused where it would lie further ahead than a burst.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from shared.http.problems import TOO_MANY_REQUESTS, Problem

MOST_CLIENTS: Final = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """``burst`` requests at once, and ``burst`` more in each ``seconds``, spread evenly."""

    name: str
    burst: int
    seconds: float

    @property
    def policy(self) -> str:
        """As ``RateLimit-Policy`` has it."""
        return f'"{self.name}";q={self.burst};w={math.ceil(self.seconds)}'


SIGNING_IN: Final = Rate(name="log-ins", burst=5, seconds=60.0)
REGISTERING: Final = Rate(name="registrations", burst=10, seconds=60.0)
"""Each takes a tenth of a second of a processor and 64 MiB, as hashing a password does."""

CHANGING_PASSWORD: Final = Rate(name="passwords", burst=5, seconds=60.0)
"""By account: each takes two hashes, and who knows the password is slowed by nothing else."""


def requests_per_second(rate: int) -> Rate:
    """So many requests a second, and bursts of twice as many."""
    return Rate(name="requests", burst=2 * rate, seconds=2.0)


class RateLimiter:
    """Counts what clients ask of one rate."""

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._share = rate.seconds / rate.burst
        self._clock = clock
        self._clear_at: OrderedDict[str, float] = OrderedDict()

    def take(self, client: str) -> Mapping[str, str]:
        """Counts a request, and says what is left as headers. Raises Problem with 429 where nothing is."""
        now = self._clock()
        clear_at = max(self._clear_at.get(client, now), now) + self._share
        over = clear_at - now - self._rate.seconds
        if over > self._share * 1e-6:
            detail = f"{self._rate.burst} requests in {self._rate.seconds:g} s are what a client may send."
            headers = self._headers(now, clear_at - self._share) | {"Retry-After": str(math.ceil(over))}
            raise Problem(TOO_MANY_REQUESTS, f"{detail} Nothing was done.", headers=headers)
        self._clear_at[client] = clear_at
        self._clear_at.move_to_end(client)
        if len(self._clear_at) > MOST_CLIENTS:
            self._clear_at.popitem(last=False)
        return self._headers(now, clear_at)

    def _headers(self, now: float, clear_at: float) -> dict[str, str]:
        used = clear_at - now
        left = max(0, int((self._rate.seconds - used) / self._share + 1e-6))
        return {
            "RateLimit-Policy": self._rate.policy,
            "RateLimit": f'"{self._rate.name}";r={left};t={math.ceil(used)}',
        }
