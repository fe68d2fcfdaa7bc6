"""Asking another service over HTTP: bounded in time, in connections, in bytes, and in what is asked again.

One that is away, frozen or slow costs its caller the deadline at most, and after some failures nothing: then
one request per half second tries, and the others are told at once.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

import aiohttp
import orjson
from aiohttp import hdrs
from yarl import URL

from shared import tls
from shared.breaker import Breaker
from shared.errors import ServiceUnavailable
from shared.tracing import part

DEADLINE_SECONDS: Final = 1.9
"""In total: waiting for a connection, every attempt, the pauses between them, and reading the answer, so
that clients of the gateway are told within 2 s."""
CONNECTIONS: Final = 64
KEEP_ALIVE_SECONDS: Final = 30.0
"""Shorter than our services keep a silent connection, so that none is reused just as it is closed."""
LARGEST_ANSWER: Final = 2 * 1_048_576
TOLERATED_FAILURES: Final = 4
MOST_ATTEMPTS: Final = 3
LONGEST_PAUSE_SECONDS: Final = 0.1
RETRY_SHARE: Final = 0.1
RETRIES_SAVED: Final = 10.0
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAnswer:
    """What a service answered, of any status. Its body has been read in full."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class RetryBudget:
    """Of all requests a tenth may be asked again, so that retries never make an overload."""

    def __init__(self, share: float = RETRY_SHARE, most: float = RETRIES_SAVED) -> None:
        self._share = share
        self._most = most
        self._left = most

    def asked(self) -> None:
        """A request is made."""
        self._left = min(self._most, self._left + self._share)

    def take(self) -> bool:
        """Whether one may be made again."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


class AskedService(Protocol):
    """Another service, as those see it who ask it on behalf of a client."""

    async def send(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> ServiceAnswer:
        """Its answer, of any status. Raises ServiceUnavailable."""


class ServiceClient:
    """Asks one service. ``name`` is what callers are told of it."""

    def __init__(
        self,
        name: str,
        base_url: str,
        session: aiohttp.ClientSession,
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        breaker: Breaker | None = None,
        budget: RetryBudget | None = None,
    ) -> None:
        self.name = name
        self._base_url = base_url.rstrip("/")
        self._session = session
        self._deadline_seconds = deadline_seconds
        self._breaker = breaker or Breaker(tolerates=TOLERATED_FAILURES)
        self._budget = budget or RetryBudget()

    async def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        deadline_seconds: float | None = None,
    ) -> ServiceAnswer:
        """Asks; ``path`` is escaped and has the query. Raises ServiceUnavailable.

        Only safe methods are asked again. What became of another one that got no answer is unknown.
        """
        if not self._breaker.try_now():
            raise ServiceUnavailable(self.name, self._breaker.reason() or "it is away")
        self._budget.asked()
        with part(f"{method} {self.name}", "client") as span:
            if span is None:
                return await self._send(method, path, headers or {}, body, deadline_seconds)
            headers = {**(headers or {}), "traceparent": span.traceparent}
            answer = await self._send(method, path, headers, body, deadline_seconds)
            span.attributes |= {"http.request.method": method, "http.response.status_code": answer.status}
            return answer

    async def _send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
        deadline_seconds: float | None,
    ) -> ServiceAnswer:
        seconds = deadline_seconds or self._deadline_seconds
        try:
            async with asyncio.timeout(seconds):
                answer = await self._attempts(method, path, headers, body)
        except TimeoutError:
            reason = f"it did not answer within {seconds:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            reason = tls.fault_of(error) or _words_of(error)
            if self._base_url.startswith("https:") and isinstance(error, aiohttp.ServerDisconnectedError):
                reason += tls.hint()
        else:
            self._breaker.succeeded()
            return answer
        self._breaker.failed(reason)
        raise ServiceUnavailable(self.name, reason)

    async def json(self, path: str, *, deadline_seconds: float | None = None) -> Any:
        """What a service answers to GET as JSON. Raises ServiceUnavailable unless it is a 200."""
        answer = await self.send("GET", path, deadline_seconds=deadline_seconds)
        if answer.status != 200:
            raise ServiceUnavailable(self.name, f"it answered {answer.status}")
        try:
            return orjson.loads(answer.body)
        except orjson.JSONDecodeError as error:
            raise ServiceUnavailable(self.name, "it answered what is no JSON") from error

    async def _attempts(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> ServiceAnswer:
        attempt = 1
        while True:
            try:
                return await self._once(method, path, headers, body)
            except (aiohttp.ClientError, OSError):
                if method not in _SAFE or attempt >= MOST_ATTEMPTS or not self._budget.take():
                    raise
            attempt += 1
            await asyncio.sleep(random.uniform(0, LONGEST_PAUSE_SECONDS))

    async def _once(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> ServiceAnswer:
        url = URL(self._base_url + path, encoded=True)  # as it is: a path with dots leads nowhere else
        trust = tls.client_context() if url.scheme == "https" else True
        async with self._session.request(
            method, url, headers=headers, data=body, allow_redirects=False, ssl=trust
        ) as answer:
            read = bytearray()
            async for chunk in answer.content.iter_any():
                read += chunk
                if len(read) > LARGEST_ANSWER:
                    raise aiohttp.ClientPayloadError("the answer is too long")
            return ServiceAnswer(status=answer.status, headers=answer.headers, body=bytes(read))


def _words_of(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno or 0
        return os.strerror(number).lower() if number > 0 else "no connection"
    return f"no answer ({type(error).__name__})"


@asynccontextmanager
async def open_client(name: str, base_url: str) -> AsyncIterator[ServiceClient]:
    """A client with connections of its own, so that a slow service takes none from another one."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEEP_ALIVE_SECONDS),
        timeout=aiohttp.ClientTimeout(total=None),
        headers={hdrs.ACCEPT_ENCODING: "identity"},  # the client's own wish is fulfilled where it asks
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    ) as session:
        yield ServiceClient(name, base_url, session)
