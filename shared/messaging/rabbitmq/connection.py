"""One supervised connection to whichever node of the cluster answers.

``connect_robust`` of aio-pika keeps a single URL and restores without a time limit, so failover is ours:
every URL in turn, full-jitter backoff after each full round, a deadline on everything, and a connection
that misbehaved once is closed and replaced rather than trusted again.
"""

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, cast

import aio_pika
import aiormq
from aio_pika.abc import AbstractConnection
from aiormq.channel import Channel
from aiormq.exceptions import AMQPError
from yarl import URL

from shared import tls
from shared.cancellation import raise_if_cancelled
from shared.errors import BrokerUnavailable
from shared.logs import get_logger
from shared.messaging.rabbitmq.frames import deliver_unreadable_properties
from shared.messaging.waiting import SAY_EVERY, backoff_seconds

LONGEST_BACKOFF_SECONDS: Final = 3.0
LONGEST_REFUSED_SECONDS: Final = 30.0
"""Between connections that are made and then refuse the work for a reason that only an operator can mend."""
STEADY_SECONDS: Final = 60.0
"""A connection that has lived for so long was of use, whether or not it was used."""
_REFUSED: Final = re.compile(
    r"\b(ACCESS_REFUSED|PRECONDITION_FAILED|NOT_ALLOWED|RESOURCE_ERROR|NOT_IMPLEMENTED)\b"
)
CLOSE_SECONDS: Final = 1.0

_OBJECT: Final = re.compile(r"<[^<>]*\b0x[0-9a-f]+[^<>]*>")

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkTimes:
    """Deadlines in seconds. A frozen node is noticed after about three heartbeats."""

    heartbeat: int = 5
    connect: float = 3.0
    open: float = 15.0


def words_of(error: BaseException) -> str:
    """What the broker said, where the error carries it, such as ``ACCESS_REFUSED - ...``; else the library.

    A refusal in the middle of a handshake is told by its object's address alone; the frame itself is then
    found where the error was raised.
    """
    if fault := tls.fault_of(error):
        return fault
    if not isinstance(error, AMQPError):
        return f"{type(error).__name__}: {_OBJECT.sub('it', str(error))}"
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    frame = traceback.tb_frame.f_locals.get("frame") if traceback is not None else None
    for said in (frame, *error.args):
        text = said if isinstance(said, str) else getattr(said, "reply_text", None)
        if text:
            return _OBJECT.sub("it", text)
    return type(error).__name__


@asynccontextmanager
async def broker_errors(what: str, timeout_seconds: float | None = None) -> AsyncIterator[None]:
    """Bounds the block and turns everything that means "this broker is no use" into BrokerUnavailable.

    aiormq lets a lost connection surface as CancelledError in tasks that nobody cancelled; such a one is
    translated too, while a cancellation that somebody asked for passes through. A peer that hangs up
    in the middle of the handshake surfaces as StopAsyncIteration or EOFError; one that hangs up while its
    last frames are still being read, as a bare Exception in whatever was waiting for an answer.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            yield
        raise_if_cancelled()
    except asyncio.CancelledError as error:
        raise_if_cancelled()
        raise BrokerUnavailable(f"{what}: the connection was lost") from error
    except TimeoutError as error:
        raise BrokerUnavailable(f"{what}: no answer within {timeout_seconds} s") from error
    except (AMQPError, OSError, EOFError, RuntimeError, StopAsyncIteration) as error:
        raise_if_cancelled()
        raise BrokerUnavailable(f"{what}: {words_of(error)}") from error
    except Exception as error:
        if type(error) is not Exception:  # whatever has a name is somebody else's
            raise
        raise_if_cancelled()
        raise BrokerUnavailable(f"{what}: the connection was lost") from error


class Link:
    """Keeps one connection open for as long as :meth:`run` runs, and tells which node it leads to."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        name: str,
        on_open: Callable[[AbstractConnection], Awaitable[None]],
        times: LinkTimes,
    ) -> None:
        self._made = self._proven = False
        self._urls = [URL(url) for url in urls]
        self._name = name
        self._on_open = on_open
        self._times = times
        self._turn = 0
        self._up = asyncio.Event()
        self._lost = asyncio.Event()
        self._reason = "not connected yet"
        self._node: str | None = None
        self._current: AbstractConnection | None = None

    @property
    def node(self) -> str | None:
        """The host and port that the link leads to, or None while it is down."""
        return self._node

    def unready_reason(self) -> str | None:
        """Why the link is down, or None while it is up."""
        return None if self._up.is_set() else self._reason

    async def connection(self) -> AbstractConnection:
        """The open connection; waits until there is one."""
        while True:
            await self._up.wait()
            if self._current is not None:
                return self._current

    def condemn(self, reason: str) -> None:
        """Gives the present connection up; the next node is tried at once."""
        if not self._lost.is_set():
            self._reason = reason
            self._up.clear()
            self._lost.set()

    def proven(self) -> None:
        """The present connection does what it is for; the loss of one that never did is backed off from."""
        self._proven = True

    async def run(self) -> None:
        """Connects, waits for the loss of the connection, and connects again, until cancelled."""
        deliver_unreadable_properties()
        loop = asyncio.get_running_loop()
        unreached = unusable = 0
        while True:
            began = loop.time()
            url = self._urls[self._turn % len(self._urls)]
            self._turn += 1
            try:
                async with self._open(url):
                    await self._lost.wait()
            except BrokerUnavailable as error:
                self._reason = str(error)
            if self._proven or (self._made and loop.time() - began > STEADY_SECONDS):
                unreached = unusable = 0
                log.warning("broker lost", link=self._name, node=_node_of(url), reason=self._reason)
                continue
            unreached, unusable = unreached + (not self._made), unusable + self._made
            failures = unusable if self._made else unreached
            longest = LONGEST_REFUSED_SECONDS if _REFUSED.search(self._reason) else LONGEST_BACKOFF_SECONDS
            log.debug("cannot connect", link=self._name, node=_node_of(url), reason=self._reason)
            rounds, first_of_round = divmod(failures, len(self._urls))
            if first_of_round == 0:
                if (rounds - 1) % SAY_EVERY == 0:
                    log.warning("no broker can be used", link=self._name, reason=self._reason)
                await asyncio.sleep(backoff_seconds(rounds, longest=longest))

    @asynccontextmanager
    async def _open(self, url: URL) -> AsyncIterator[None]:
        self._lost.clear()
        self._made = self._proven = False
        node = _node_of(url)
        async with broker_errors(f"connecting to {node}", self._times.connect), _secured(url) as context:
            connection = await aio_pika.connect(
                str(url),
                ssl_context=context,
                heartbeat=self._times.heartbeat,
                client_properties={"connection_name": self._name},
            )
        try:
            self._current, self._made = connection, True
            connection.close_callbacks.add(lambda _, error: self._on_closed(connection, node, error))
            async with broker_errors(f"setting up on {node}", self._times.open):
                await self._on_open(connection)
            if connection.is_closed or self._lost.is_set():
                raise BrokerUnavailable(f"{node} closed the connection during set-up")
            self._node = node
            self._up.set()
            log.info("connected", link=self._name, node=node)
            yield
        finally:
            self._up.clear()
            self._current = self._node = None
            await _close(connection)

    def _on_closed(self, connection: AbstractConnection, node: str, error: BaseException | None) -> None:
        """A connection that was given up may close much later; only the present one counts."""
        if connection is self._current:
            said = f": {words_of(error)}" if isinstance(error, AMQPError) else ""
            self.condemn(f"{node} closed the connection{said}")


@asynccontextmanager
async def _secured(url: URL) -> AsyncIterator[ssl.SSLContext | None]:
    """What to connect with, None for a plain connection; says what a broker may want that hangs up."""
    if url.scheme != "amqps":
        yield None
        return
    try:
        yield tls.client_context()
    except (AMQPError, OSError, EOFError) as error:
        if tls.fault_of(error):
            raise
        words = f"{words_of(error)}{tls.hint(error)}"
        raise BrokerUnavailable(f"connecting to {_node_of(url)}: {words}") from error


def _node_of(url: URL) -> str:
    return f"{url.host}:{url.port}"


async def _close(connection: AbstractConnection) -> None:
    """Closes with a deadline: a frozen peer answers no handshake, and its socket dies with its heartbeat."""
    with contextlib.suppress(BrokerUnavailable):
        async with broker_errors("closing", CLOSE_SECONDS):
            await connection.close()


async def open_channel(connection: AbstractConnection, *, publishes: bool) -> Channel:
    """A channel as the library's lower half has it; with confirms if it ``publishes``.

    Not through aio-pika's: that hangs an observer on the connection for every channel, 4 kB which stay until
    the connection ends. A consumer is renewed every three seconds, so an idle day would cost 115 MB.
    """
    transport = connection.transport
    if transport is None:
        raise BrokerUnavailable("the connection is closed")
    await transport.ready()
    lower = cast(aiormq.Connection, transport.connection)
    return cast(Channel, await lower.channel(publisher_confirms=publishes, on_return_raises=publishes))
