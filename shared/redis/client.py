"""The one way to reach Redis: bounded in time, in connections, and without retries behind our back.

redis-py retries a command ten times by default, and a script that reserved stock before the connection
dropped would run again. Ours runs once; whoever called it knows whether to ask again.

The deadline is the caller's, by :func:`store_deadline`. redis-py's own socket timeout sends through
``asyncio.wait_for``, which before Python 3.12 loses a cancellation that arrives just then: cancelled tasks
lived on, and a service waited for them for ever.

Errors are judged here alone. Whatever leaves a block under :func:`store_deadline` is an outage, of whatever
name: what a store, its proxy or its access rules may answer has no list. What is no outage is told by
:func:`is_away`, where the caller looks at single answers before the block ends, and by BrokenKey.
"""

import ast
import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Final, TypeGuard

import hiredis
import redis.asyncio as redis_asyncio
from redis._parsers import _AsyncHiredisParser
from redis.asyncio.connection import AbstractConnection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError, RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from shared import tls
from shared.cancellation import raise_if_cancelled
from shared.errors import StoreUnavailable

Redis = redis_asyncio.Redis

RESET = "the handler is closed"
"""What uvloop says, in a RuntimeError, where a socket was reset just now."""
REFUSED_FOR_SECONDS: Final = 5.0
"""How long a refusal speaks for the store: longer than the longest pause of those that wait it out."""

_ABOUT_DATA: Final = re.compile(
    r"WRONGTYPE |is not an integer|is not a valid float|user_script:\d+: (attempt to|bad argument)"
)
_UNREACHED: Final = re.compile(r"^Error -?\d+ (connecting to \S+)\. (.+?)\.$")
_IN_PIPELINE: Final = re.compile(r"Command # \d+ \(.*\) of pipeline caused error: (\(.*\))", re.DOTALL)
_PLACE_IN_SCRIPT: Final = re.compile(r",? script: [0-9a-f]{40}, on @user_script:\d+\.?")


def is_away(error: Exception) -> bool:
    """Whether an error speaks of the store, or of our rights in it, and not of what lies under a key."""
    return not isinstance(error, ResponseError) or _ABOUT_DATA.search(str(error)) is None


@contextmanager
def broken_is_absent() -> Iterator[None]:
    """Passes over a command that met a key of another type; what it would have given stays unset."""
    try:
        yield
    except ResponseError as error:
        if is_away(error):
            raise


def outage(error: Exception) -> StoreUnavailable:
    """What any error of the store means for those that need it, in words for users. It is remembered."""
    refusals = getattr(error, "refusals", None)
    code = getattr(error, "status_code", None)
    text = str(error)
    if fault := tls.fault_of(error):
        unreached = _UNREACHED.match(text)
        text = f"{unreached[1]}: {fault}" if unreached else fault
    if quoted := _IN_PIPELINE.fullmatch(text):  # the library says where, which differs from caller to caller
        text = " ".join(map(str, ast.literal_eval(quoted[1])))
    text = _PLACE_IN_SCRIPT.sub("", _UNREACHED.sub(r"\1: \2", text)) or type(error).__name__
    named = isinstance(error, ResponseError) and code and code not in {"ERR", text.split(" ", 1)[0]}
    reason = f"Redis: {code} {text}" if named else f"Redis: {text}"
    if isinstance(refusals, Refusals):
        refusals.add(reason)
    return StoreUnavailable(reason)


@dataclass(slots=True)
class Refusals:
    """The last time that an answer of the store to one client was judged to be an outage."""

    reason: str = ""
    at: float = -REFUSED_FOR_SECONDS

    def add(self, reason: str) -> None:
        """It was just now."""
        self.reason, self.at = reason, time.monotonic()

    def recent(self) -> str | None:
        """Why a command was refused just now, or None."""
        return self.reason if time.monotonic() - self.at < REFUSED_FOR_SECONDS else None


class _Parser(_AsyncHiredisParser):
    """The library's, which raises errors of Python's own for an error of a known name in an odd form."""

    def __init__(self, refusals: Refusals, socket_read_size: int) -> None:
        super().__init__(socket_read_size)
        self._refusals = refusals

    def parse_error(self, response: str) -> Exception:  # type: ignore[override]  # a class method there
        """The exception for one error that the store answered."""
        try:
            error: Exception = super().parse_error(response)  # type: ignore[no-untyped-call]  # the library's
        except (ValueError, IndexError):
            error = ResponseError(response)
        error.refusals = self._refusals  # type: ignore[attr-defined]  # ours, for outage() to find
        return error


class BrokenKey(ResponseError):
    """Raised where a call's own key, of one order or SKU, holds what its script cannot read: no outage."""


class _TlsConnection(SSLConnection):
    """The library's, with the context of all connections."""

    _has_answered = False

    def _connection_arguments(self) -> Mapping[str, Any]:
        self._has_answered = False
        return {**super()._connection_arguments(), "ssl": tls.client_context()}

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        """The next answer; raises what the library raises."""
        try:
            answer = await super().read_response(*arguments, **options)
        except RedisConnectionError as error:
            if self._has_answered or tls.fault_of(error):
                raise
            raise RedisConnectionError(f"{error}{tls.hint()}") from error
        self._has_answered = True
        return answer


class BoundedPool(redis_asyncio.ConnectionPool):
    """Connections up to ``max_connections``; who finds none free waits for as long as its deadline lets it.

    The library's ``BlockingConnectionPool`` waits too, but takes a condition and a timer for every command,
    free connection or not: a third of the whole command's cost. Its plain pool spends as much on telemetry.
    """

    def __init__(self, *, max_connections: int, **options: Any) -> None:
        self.refusals = Refusals()
        if options.get("connection_class") is SSLConnection:  # as the URL says
            options["connection_class"] = _TlsConnection
        parser = partial(_Parser, self.refusals)
        super().__init__(max_connections=max_connections, parser_class=parser, **options)
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
        driver_info=None,  # it is sent by a command that a user of few rights may be refused
    )
    client = redis_asyncio.Redis(connection_pool=pool)
    try:
        yield client
    finally:
        await client.aclose()
        await pool.disconnect()


class StoreDeadline:
    """See :func:`store_deadline`. A class, since a generator costs twice as much."""

    __slots__ = ("_deadline", "_seconds")

    def __init__(self, timeout_seconds: float) -> None:
        self._seconds = timeout_seconds
        self._deadline = asyncio.timeout(timeout_seconds)

    async def __aenter__(self) -> None:
        await self._deadline.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._deadline.__aexit__(kind, error, trace)
        except TimeoutError:
            raise late(self._seconds) from error
        if error is None:
            raise_if_cancelled()
        elif isinstance(error, TimeoutError):
            raise late(self._seconds) from error
        elif isinstance(error, BrokenKey):
            return
        elif isinstance(error, RedisError | OSError) or _says_reset(error):
            raise outage(error) from error


def late(timeout_seconds: float) -> StoreUnavailable:
    """What no answer in time means."""
    return StoreUnavailable(f"Redis did not answer within {timeout_seconds:g} s")


def _says_reset(error: BaseException) -> TypeGuard[RuntimeError]:
    return isinstance(error, RuntimeError) and RESET in str(error)


def store_deadline(timeout_seconds: float) -> StoreDeadline:
    """Bounds everything in the block; outside, every error of the store but BrokenKey is StoreUnavailable."""
    return StoreDeadline(timeout_seconds)


def last_refusal(redis: Redis) -> str | None:
    """Why this client was refused something just now, or None."""
    pool = redis.connection_pool
    return pool.refusals.recent() if isinstance(pool, BoundedPool) else None


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
        await connection.disconnect(nowait=True)  # answers may yet come, with no reader left
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
