"""The one way to reach Redis: bounded in time, in connections, and without retries behind our back.

redis-py retries a command ten times by default, and a script that reserved stock before the connection
dropped would run again. Ours runs once; whoever called it knows whether to ask again.

The deadline is the caller's, by :func:`store_deadline`. redis-py's own socket timeout sends through
``asyncio.wait_for``, which before Python 3.12 loses a cancellation that arrives just then: tasks lived on
that somebody had cancelled, and a service waited for them for ever.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio as redis_asyncio
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError as RedisConnectionError,
    MaxConnectionsError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError as RedisTimeoutError,
)
from redis.maint_notifications import MaintNotificationsConfig

from shared.cancellation import raise_if_cancelled
from shared.errors import StoreUnavailable

Redis = redis_asyncio.Redis

_AWAY = (
    RedisConnectionError,
    RedisTimeoutError,
    BusyLoadingError,
    OutOfMemoryError,
    ReadOnlyError,
    MaxConnectionsError,
    AuthenticationError,
)
WRONG_TYPE = "WRONGTYPE"
_REFUSING = ("OOM ", "MISCONF ", "LOADING ", "READONLY ", "MASTERDOWN ", "NOREPLICAS ", "BUSY ", "NOAUTH ")
"""What Redis answers when it cannot take writes from anybody, as opposed to a fault of this command."""


class BoundedPool(redis_asyncio.ConnectionPool):
    """Connections up to ``max_connections``; who finds none free waits for as long as its deadline lets it.

    The library's ``BlockingConnectionPool`` waits too, but takes a condition and a timer for every command,
    free connection or not: a third of the whole command's cost.
    """

    def __init__(self, *, max_connections: int, **options: Any) -> None:
        super().__init__(max_connections=max_connections, **options)
        self._free = asyncio.Semaphore(max_connections)
        self._handed_out: set[AbstractConnection] = set()

    async def get_connection(
        self, command_name: str | None = None, *keys: Any, **options: Any
    ) -> AbstractConnection:
        """A connected one. Raises what connecting raises."""
        await self._free.acquire()
        try:
            connection: AbstractConnection = await super().get_connection()  # type: ignore[no-untyped-call]  # the library's
        except BaseException:
            self._free.release()
            raise
        self._handed_out.add(connection)
        return connection

    async def release(self, connection: AbstractConnection) -> None:
        """Takes one back. The library calls it too for one that it could not connect and never handed out."""
        try:
            await super().release(connection)
        finally:
            if connection in self._handed_out:
                self._handed_out.remove(connection)
                self._free.release()


@asynccontextmanager
async def open_redis(url: str, *, timeout_seconds: float, max_connections: int) -> AsyncIterator[Redis]:
    """A client that connects within ``timeout_seconds`` or fails, closed after the block.

    It connects at the first command, so a store that is down does not keep a service from starting. How
    long a command may take says :func:`store_deadline`, in which every use of the client stands.
    """
    pool = BoundedPool.from_url(
        url,
        max_connections=max_connections,
        socket_timeout=None,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 0),
        # with them, which is the default, it hands out connections that the server has closed
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
        decode_responses=True,
        encoding_errors="replace",
    )
    client = redis_asyncio.Redis(connection_pool=pool)
    try:
        yield client
    finally:
        await client.aclose()
        await pool.disconnect()


@asynccontextmanager
async def store_deadline(timeout_seconds: float) -> AsyncIterator[None]:
    """Bounds everything in the block; raises StoreUnavailable for whatever means that Redis is away."""
    try:
        async with asyncio.timeout(timeout_seconds):
            yield
        raise_if_cancelled()
    except TimeoutError as error:
        raise StoreUnavailable(f"Redis did not answer within {timeout_seconds:g} s") from error
    except RedisError as error:
        if is_away(error):
            raise StoreUnavailable(f"Redis: {error}") from error
        raise


@asynccontextmanager
async def store_answer(timeout_seconds: float) -> AsyncIterator[None]:
    """As :func:`store_deadline`, for keys that only we write: one of another type is a fault of the store.

    It is no fault of whoever asked, and goes away when an operator has mended it, so it is waited out too.
    """
    try:
        async with store_deadline(timeout_seconds):
            yield
    except ResponseError as error:
        if WRONG_TYPE not in str(error):
            raise
        raise StoreUnavailable(f"a key of another type is in the way: {error}") from error


def is_away(error: RedisError) -> bool:
    """Whether the error speaks of the whole store rather than of one command."""
    if isinstance(error, _AWAY):
        return True
    return isinstance(error, ResponseError) and (
        str(error).startswith(_REFUSING) or "OOM command not allowed" in str(error)
    )
