"""The one way to reach Redis: bounded in time, in connections, and without retries behind our back.

redis-py retries a command ten times by default, and a script that reserved stock before the connection
dropped would run again. Ours runs once; whoever called it knows whether to ask again.

The deadline is the caller's, by :func:`store_deadline`. redis-py's own socket timeout sends through
``asyncio.wait_for``, which before Python 3.12 loses a cancellation that arrives just then: tasks lived on
that somebody had cancelled, and a service waited for them for ever.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

import hiredis
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
from shared.deadlines import within
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
RESET = "the handler is closed"
"""What uvloop says, in a RuntimeError, where a socket was reset just now."""
_REFUSING = ("OOM ", "MISCONF ", "LOADING ", "READONLY ", "MASTERDOWN ", "NOREPLICAS ", "BUSY ", "NOAUTH ")
"""What Redis answers when it cannot take writes from anybody, as opposed to a fault of this command."""


class BoundedPool(redis_asyncio.ConnectionPool):
    """Connections up to ``max_connections``; who finds none free waits for as long as its deadline lets it.

    The library's ``BlockingConnectionPool`` waits too, but takes a condition and a timer for every command,
    free connection or not: a third of the whole command's cost. Its plain pool spends as much on telemetry.
    """

    def __init__(self, *, max_connections: int, **options: Any) -> None:
        super().__init__(max_connections=max_connections, **options)
        self._free = asyncio.Semaphore(max_connections)

    async def get_connection(
        self, command_name: str | None = None, *keys: Any, **options: Any
    ) -> AbstractConnection:
        """A connected one. Raises what connecting raises."""
        await self._free.acquire()
        connection: AbstractConnection = self.get_available_connection()  # type: ignore[no-untyped-call]  # the library's
        try:
            if _is_reset(connection):
                await connection.disconnect(nowait=True)
            await self.ensure_connection(connection)
        except BaseException:
            await self.release(connection)
            raise
        return connection

    async def release(self, connection: AbstractConnection) -> None:
        """Takes one back, connected or not."""
        try:
            if connection.should_reconnect():  # type: ignore[no-untyped-call]  # the library's
                await connection.disconnect()
        finally:
            self._in_use_connections.remove(connection)
            self._available_connections.append(connection)
            self._free.release()


def _is_reset(connection: AbstractConnection) -> bool:
    """Whether its socket is gone. The library looks for a proper end alone."""
    writer = connection._writer
    return writer is not None and writer.is_closing()


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


class StoreDeadline:
    """See :func:`store_deadline` and :func:`store_answer`. A class, since a generator costs twice as much."""

    __slots__ = ("_deadline", "_seconds", "_waits_out_types")

    def __init__(self, timeout_seconds: float, *, waits_out_types: bool = False) -> None:
        self._seconds = timeout_seconds
        self._waits_out_types = waits_out_types
        self._deadline = within(timeout_seconds)

    async def __aenter__(self) -> None:
        await self._deadline.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._deadline.__aexit__(kind, error, trace)
        except TimeoutError:
            raise StoreUnavailable(f"Redis did not answer within {self._seconds:g} s") from error
        if error is None:
            raise_if_cancelled()
        elif isinstance(error, TimeoutError):
            raise StoreUnavailable(f"Redis did not answer within {self._seconds:g} s") from error
        elif isinstance(error, RedisError):
            self._judge(error)
        elif isinstance(error, RuntimeError) and RESET in str(error):
            raise StoreUnavailable(f"Redis: {error}") from error

    def _judge(self, error: RedisError) -> None:
        if is_away(error):
            raise StoreUnavailable(f"Redis: {error}") from error
        if self._waits_out_types and isinstance(error, ResponseError) and WRONG_TYPE in str(error):
            raise StoreUnavailable(f"a key of another type is in the way: {error}") from error


def store_deadline(timeout_seconds: float) -> StoreDeadline:
    """Bounds everything in the block; raises StoreUnavailable for whatever means that Redis is away."""
    return StoreDeadline(timeout_seconds)


def store_answer(timeout_seconds: float) -> StoreDeadline:
    """As :func:`store_deadline`, for keys that only we write: one of another type is a fault of the store.

    It is no fault of whoever asked, and goes away when an operator has mended it, so it is waited out too.
    """
    return StoreDeadline(timeout_seconds, waits_out_types=True)


async def round_trip(redis: Redis, commands: Sequence[Sequence[str | int]]) -> list[Any]:
    """Sends commands together and returns their answers in order, errors of single ones among them.

    Raises what the library raises. Its own pipelines do the same for twice the cost; a store that lives in
    this process, and has no such pool, is asked through them.
    """
    pool = redis.connection_pool
    if not isinstance(pool, BoundedPool):
        async with redis.pipeline(transaction=False) as pipeline:
            for command in commands:
                _ = pipeline.execute_command(*command)
            return list(await pipeline.execute(raise_on_error=False))
    connection = await pool.get_connection()
    try:
        await connection.send_packed_command(b"".join(map(_packed, commands)), check_health=False)
        return [await _answer(connection) for _ in commands]
    except BaseException:
        await connection.disconnect(nowait=True)  # answers may yet come, and nobody is left to read them
        raise
    finally:
        await pool.release(connection)


def _packed(command: Sequence[str | int]) -> bytes:
    words: Any = tuple(command)
    try:
        packed: bytes = hiredis.pack_command(words)
    except UnicodeEncodeError:  # the texts of errors may quote anything
        words = tuple(word.encode("utf-8", "replace") if isinstance(word, str) else word for word in words)
        packed = hiredis.pack_command(words)
    return packed


async def _answer(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


def is_away(error: RedisError) -> bool:
    """Whether the error speaks of the whole store rather than of one command."""
    if isinstance(error, _AWAY):
        return True
    return isinstance(error, ResponseError) and (
        str(error).startswith(_REFUSING) or "OOM command not allowed" in str(error)
    )
