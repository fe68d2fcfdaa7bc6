"""One attempt: a signed POST to a receiver that may be slow, endless, hostile or away."""

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp
from aiohttp import hdrs
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks.webhooks import Webhook

from shared.http.negotiation import JSON
from shared.text import visible
from webhooks.addresses import SocketFactory
from webhooks.endpoints import Clock
from webhooks.model import SECOND, ClaimedDelivery, DeliveryAttempt, webhook_id

MOST_READ_BYTES: Final = 16_384
"""Of an answer, of which the status alone counts: one that is longer, or slow, costs its connection."""
DRAIN_SECONDS: Final = 0.5
LONGEST_ERROR: Final = 200
_SECONDS: Final = re.compile(r"[0-9]{1,7}")


class Poster:
    """Posts deliveries. Redirects are not followed, and cookies are not kept."""

    def __init__(self, session: aiohttp.ClientSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def post(self, claimed: ClaimedDelivery) -> DeliveryAttempt:
        """How it ended, whatever the receiver, its name server or its certificate does."""
        at, began = self._clock(), time.monotonic()
        status, error, asked = None, None, 0.0
        body = numbered_body(claimed)
        headers = {hdrs.CONTENT_TYPE: JSON, **signed_headers(claimed, body, at // SECOND)}
        try:
            async with self._session.post(
                claimed.url, data=body.encode(), headers=headers, allow_redirects=False
            ) as answer:
                status, asked = answer.status, retry_after_seconds(answer.headers, at / SECOND)
                await _drain(answer)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as fault:
            error = None if status is not None else _in_words(fault)
        milliseconds = int((time.monotonic() - began) * 1_000)
        return DeliveryAttempt(
            at=at, milliseconds=milliseconds, status=status, error=error, retry_after_seconds=asked
        )


class ThreadsOfItsOwn(AbstractResolver):
    """Looks names up by the system, in threads that nothing else waits for: a name server may be slow."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="webhooks-names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name. Raises OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
        )
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST,
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Waits for no thread."""
        self._threads.shutdown(wait=False, cancel_futures=True)


@asynccontextmanager
async def open_session(
    resolver: AbstractResolver, sockets: SocketFactory | None, *, timeout_seconds: float
) -> AsyncIterator[aiohttp.ClientSession]:
    """The connections to receivers; an attempt has ``timeout_seconds``, looking its name up included."""
    connector = aiohttp.TCPConnector(resolver=resolver, socket_factory=sockets, use_dns_cache=False, limit=0)
    try:
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            headers={hdrs.USER_AGENT: "order-pipeline-webhooks"},
        ) as session:
            yield session
    finally:
        await resolver.close()


def numbered_body(claimed: ClaimedDelivery) -> str:
    """The envelope with the number that it has for its endpoint; the same for every attempt."""
    return f'{claimed.body.removesuffix("}")},"sequence":{claimed.sequence}}}'


def signed_headers(claimed: ClaimedDelivery, body: str, at_seconds: int) -> Mapping[str, str]:
    """What Standard Webhooks has: a signature of each secret that holds."""
    about = webhook_id(claimed.endpoint_id, claimed.sequence)
    at = datetime.fromtimestamp(at_seconds, UTC)
    signatures = (Webhook(secret).sign(msg_id=about, timestamp=at, data=body) for secret in claimed.secrets)
    return {
        "webhook-id": about,
        "webhook-timestamp": str(at_seconds),
        "webhook-signature": " ".join(signatures),
    }


def retry_after_seconds(headers: Mapping[str, str], now_seconds: float) -> float:
    """For how long the receiver wants to be left alone, in seconds or until a date; else 0."""
    asked = headers.get(hdrs.RETRY_AFTER, "").strip()
    if _SECONDS.fullmatch(asked):
        return float(asked)
    try:
        return max(0.0, parsedate_to_datetime(asked).timestamp() - now_seconds)
    except (ValueError, OverflowError):
        return 0.0


async def _drain(answer: aiohttp.ClientResponse) -> None:
    """Reads a short answer, so that its connection can be used again."""
    left = MOST_READ_BYTES
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            async for chunk in answer.content.iter_any():
                left -= len(chunk)
                if left < 0:
                    break
            else:
                return
    except TimeoutError:
        pass
    answer.close()


def _in_words(fault: BaseException) -> str:
    """For the owner, who may be anyone: it says nothing of what is behind an address that is not public."""
    if isinstance(fault, TimeoutError):
        return "no answer in time"
    return visible(f"{type(fault).__name__}: {fault}")[:LONGEST_ERROR]
