"""The gateway's HTTP API as the commands use it, with the retries that the contract asks clients for.

Any answer but 202 means "unknown, or not accepted: ask again with the same id", and asking again converges.
So a request that was answered 503 or not at all is repeated under the same id, and a 409 for the same content
is then no failure but the news that an earlier attempt had succeeded.
"""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import orjson

from orderctl.accounts_client import operator_proof
from orderctl.errors import OrderctlError
from orderctl.http import bearer, elsewhere, in_words, object_in, request, unanswered
from orderctl.modes import current_system
from shared import tls

URL_VARIABLE = "ORDERCTL_GATEWAY_URL"
TOKEN_VARIABLE = "ORDERCTL_GATEWAY_TOKEN"  # noqa: S105 - the name of a variable
REQUEST_TIMEOUT_SECONDS = 10.0
MOST_ATTEMPTS = 30
MOST_ATTEMPTS_BY_HAND = 5
LONGEST_PAUSE_SECONDS = 2.0
ASK_AGAIN = (429, 502, 503, 504)

Reply = tuple[int, Mapping[str, str], bytes]
Transport = Callable[[str, str, bytes | None, Mapping[str, str]], Awaitable[Reply]]
"""Takes method, path, body and headers, once; raises OSError where no answer comes."""


class GatewayError(OrderctlError):
    """Raised when the gateway refused a request, or did not answer at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayAnswer:
    """One answer of the gateway. `seconds` is how long that attempt took; `asked` how often it was asked."""

    status: int
    body: Mapping[str, Any]
    seconds: float
    asked: int = 1
    retry_after_seconds: float | None = None

    @property
    def accepted(self) -> bool:
        """True if the order exists now: by this request, or by an earlier attempt of the same."""
        repeated = self.asked > 1 and self.status == 409 and self.body.get("same_content") is True
        return self.status == 202 or repeated

    def failure(self) -> GatewayError:
        """The error that says what the gateway said, fields included."""
        advice = "orderctl doctor" if self.status in ASK_AGAIN else None
        return GatewayError(in_words(self.status, self.body), advice=advice)


Attempt = GatewayAnswer | OSError
"""An answer, or why there was none; whether the attempt had an effect is unknown then."""
Observer = Callable[[Attempt], None]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayAddress:
    """Where a gateway is. `proof` gives the headers that say who asks; it is called before each request."""

    url: str
    proof: Callable[[], Mapping[str, str]] = dict


def gateway_of(url: str | None, data_dir: Path | None, *, sees_all: bool = False) -> GatewayAddress:
    """The option, else `ORDERCTL_GATEWAY_URL`, else the gateway of this machine's system, as its operator.

    `sees_all` is for commands that show what belongs to customers. Another gateway than our own is asked with
    `ORDERCTL_GATEWAY_TOKEN`, if there is one.
    """
    if chosen := elsewhere(url, URL_VARIABLE):
        return GatewayAddress(url=chosen, proof=_proof_for_others)
    system = current_system(data_dir)
    return GatewayAddress(url=system.url("api_gateway"), proof=operator_proof(system, sees_all=sees_all))


def _proof_for_others() -> Mapping[str, str]:
    token = os.environ.get(TOKEN_VARIABLE)
    return bearer(token) if token else {}


class GatewayClient:
    """Asks the gateway, again and again where it has to; made by `connect` or `by_hand`.

    After `most_attempts` the last answer stands, or the error that there was none.
    """

    def __init__(self, transport: Transport, url: str, most_attempts: int) -> None:
        self._transport = transport
        self._url = url
        self._most_attempts = most_attempts
        self._random = random.Random()

    async def place(
        self,
        order: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        observe: Observer = lambda _: None,
    ) -> GatewayAnswer:
        """Place an order, asking again while the gateway asks for it; raises GatewayError without an answer.

        `observe` is told of every single attempt.
        """
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return await self.send("POST", "/orders", body=order, headers=headers, observe=observe)

    async def get(self, path: str, **query: str | int | None) -> Mapping[str, Any]:
        """A resource as JSON; raises GatewayError unless it is 200."""
        wanted = {name: str(value) for name, value in query.items() if value is not None}
        answer = await self.send("GET", path, query=wanted)
        if answer.status != 200:
            raise answer.failure()
        return answer.body

    async def get_at_once(self, path: str, **query: str) -> Mapping[str, Any]:
        """A resource as JSON, asked for once; empty where it cannot be had now, or not at all."""
        answer = await self._once("GET", path, None, query, {}, 1)
        return answer.body if isinstance(answer, GatewayAnswer) and answer.status == 200 else {}

    async def set_stock(self, sku: str, available: int) -> None:
        """Make so many pieces of a SKU available; raises GatewayError unless it was done."""
        answer = await self.send("PUT", f"/inventory/{quote(sku, safe='')}", body={"available": available})
        if answer.status >= 300:
            raise answer.failure()

    async def send(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        observe: Observer = lambda _: None,
    ) -> GatewayAnswer:
        """Ask until there is an answer that is not "ask again", a bounded number of times."""
        attempt: Attempt = OSError("never asked")
        for asked in range(1, self._most_attempts + 1):
            attempt = await self._once(method, path, body, query or {}, headers or {}, asked)
            observe(attempt)
            if isinstance(attempt, GatewayAnswer) and attempt.status not in ASK_AGAIN:
                return attempt
            if asked < self._most_attempts:
                await asyncio.sleep(self._pause_seconds(attempt, asked))
        if isinstance(attempt, GatewayAnswer):
            return attempt
        raise GatewayError(unanswered(self._url, attempt), advice="orderctl status")

    async def _once(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        asked: int,
    ) -> Attempt:
        try:
            data = None if body is None else orjson.dumps(body)
        except orjson.JSONEncodeError as error:
            raise GatewayError(f"this cannot be sent as JSON: {error}") from error
        typed = {**headers, **({"Content-Type": "application/json"} if data else {})}
        target = f"{path}?{urlencode(query)}" if query else path
        began = time.perf_counter()
        try:
            status, answered, content = await self._transport(method, target, data, typed)
        except OSError as error:
            return error
        return GatewayAnswer(
            status=status,
            body=object_in(content),
            seconds=time.perf_counter() - began,
            asked=asked,
            retry_after_seconds=_seconds(answered.get("Retry-After")),
        )

    def _pause_seconds(self, attempt: Attempt, asked: int) -> float:
        """What the gateway asked for, else growing; spread, so that many clients do not come back at once."""
        longest = min(LONGEST_PAUSE_SECONDS, 0.1 * 2.0 ** min(asked, 6))
        if isinstance(attempt, GatewayAnswer) and attempt.retry_after_seconds is not None:
            longest = min(attempt.retry_after_seconds, LONGEST_PAUSE_SECONDS)
        return self._random.uniform(longest / 2, longest)


def by_hand(gateway: GatewayAddress) -> GatewayClient:
    """A client for one conversation, which nothing else waits for."""

    async def transport(method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        proved = {**headers, **gateway.proof()}
        with request(
            gateway.url, method, path, body=body, headers=proved, seconds=REQUEST_TIMEOUT_SECONDS
        ) as answer:
            return answer.status, dict(answer.headers), answer.read()

    return GatewayClient(transport, gateway.url, MOST_ATTEMPTS_BY_HAND)


def ask(
    url: str | None, data_dir: Path | None, question: Callable[[GatewayClient], Coroutine[Any, Any, Result]]
) -> Result:
    """Hold one conversation with the gateway; raises OrderctlError when it refuses or does not answer."""
    return asyncio.run(question(by_hand(gateway_of(url, data_dir, sees_all=True))))


@asynccontextmanager
async def connect(gateway: GatewayAddress, *, connections: int = 1) -> AsyncIterator[GatewayClient]:
    """A client for many orders at once, for as long as the block runs, with at most so many connections."""
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_SECONDS)
    trust = tls.client_context() if gateway.url.startswith("https:") else True
    connector = aiohttp.TCPConnector(limit=connections, ssl=trust)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def transport(method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
            try:
                proved = {**headers, **gateway.proof()}
                async with session.request(method, gateway.url + path, data=body, headers=proved) as answer:
                    return answer.status, answer.headers, await answer.read()
            except aiohttp.ClientError as error:
                raise OSError(tls.fault_of(error) or str(error) or type(error).__name__) from error

        yield GatewayClient(transport, gateway.url, MOST_ATTEMPTS)


def _seconds(header: str | None) -> float | None:
    return float(header) if header is not None and header.isdecimal() else None
