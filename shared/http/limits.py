"""What one client, or all of them together, may take of a port."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from aiohttp import web

from shared.http.problems import TOO_BUSY, Problem

LONGEST_WAIT_SECONDS: Final = 1.0
HEAVY_PER_CLIENT: Final = 64

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """Bounds of one port.

    ``first_byte_timeout_seconds`` is for a new connection that stays silent, ``head_timeout_seconds`` for the
    request line and headers, ``body_timeout_seconds`` for the body after them, and ``write_timeout_seconds``
    for a client that takes none of its answer. ``max_concurrent_requests`` counts requests in a ``Gate``.
    ``idle_before_eviction_seconds`` is how long a connection must do nothing until it makes room for another.
    """

    body_bytes: int = 65_536
    first_byte_timeout_seconds: float = 10.0
    head_timeout_seconds: float = 5.0
    body_timeout_seconds: float = 5.0
    write_timeout_seconds: float = 30.0
    keep_alive_seconds: float = 75.0
    max_concurrent_requests: int = 512
    max_connections: int = 2_048
    connections_per_address: int = 256
    idle_before_eviction_seconds: float = 1.0


class Gate:
    """Lets a bounded number of requests work at the same time and turns the others away at once."""

    __slots__ = ("_inside", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside = 0

    def __enter__(self) -> None:
        if self._inside >= self._limit:
            raise Problem(TOO_BUSY, "Too many requests are being worked on. Nothing was accepted: ask again.")
        self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inside -= 1

    def around(self, handler: Handler) -> Handler:
        """The same handler, as long as not too many are at work."""

        async def gated(request: web.Request) -> web.StreamResponse:
            with self:
                return await handler(request)

        return gated


class HeavyWork:
    """A few pieces at a time of work that holds the loop for milliseconds: small requests get in between.

    Of one client 64 pieces are at work or wait, a second each at most; what is beyond is turned away then.
    """

    def __init__(self, at_once: int) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._of_client: Counter[str] = Counter()

    @asynccontextmanager
    async def turn(self, client: str) -> AsyncIterator[None]:
        """One piece of work. Raises Problem with 503."""
        if self._of_client[client] >= HEAVY_PER_CLIENT:
            await asyncio.sleep(LONGEST_WAIT_SECONDS)  # told at once, it would ask again at once
            raise Problem(TOO_BUSY, "Too many large requests of this client are being worked on: ask again.")
        self._of_client[client] += 1
        try:
            await self._take_place()
            try:
                await asyncio.sleep(0)  # what came meanwhile goes first
                yield
            finally:
                self._places.release()
        finally:
            self._of_client[client] -= 1
            if not self._of_client[client]:
                del self._of_client[client]

    async def _take_place(self) -> None:
        try:
            async with asyncio.timeout(LONGEST_WAIT_SECONDS):
                await self._places.acquire()
        except TimeoutError as error:
            raise Problem(TOO_BUSY, "Too many large requests are being worked on: ask again.") from error
