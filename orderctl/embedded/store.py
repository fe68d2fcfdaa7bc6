"""The in-process store on a port, for `redis-cli`, `orderctl verify` and whoever else reads Redis.

fakeredis brings a server of its own, which closes the connection after the first error that it answers, be
it a NOSCRIPT, and polls on a thread per client. This one runs on the services' event loop.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import hiredis
from fakeredis import FakeAsyncRedisConnection, FakeServer
from redis.exceptions import RedisError

from orderctl.embedded.publishing import PUBLISH, publish_words
from shared.errors import BrokerUnavailable
from shared.messaging.ports import Publisher

READ_BYTES: Final = 65_536
PUSHING: Final = frozenset({b"SUBSCRIBE", b"PSUBSCRIBE", b"SSUBSCRIBE", b"MONITOR"})
"""What is answered more than once; nothing of the pipeline needs it."""


@asynccontextmanager
async def serve_store(
    store: FakeServer, host: str, port: int, broker: Publisher | None = None
) -> AsyncIterator[None]:
    """Serves the store for as long as the block runs. Raises OSError where the port cannot be had.

    Operators' messages go to the ``broker``, if there is one.
    """
    conversations: set[asyncio.Task[None]] = set()

    def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_converse(_Client(store, broker), reader, writer))
        conversations.add(task)
        task.add_done_callback(conversations.discard)

    server = await asyncio.start_server(met, host, port)
    try:
        yield
    finally:
        server.close()
        for task in conversations:
            task.cancel()
        await asyncio.gather(*conversations, return_exceptions=True)


async def _converse(client: "_Client", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers one client, command by command, until it has gone."""
    requests = hiredis.Reader()
    try:
        await client.connect()
        while received := await reader.read(READ_BYTES):
            requests.feed(received)
            while (command := requests.gets()) is not False:
                writer.write(await client.answer(command))
            await writer.drain()
    except hiredis.ProtocolError as error:
        writer.write(_error(error))
    except ConnectionError:
        pass  # the client has gone, as clients do
    finally:
        await client.disconnect()
        writer.close()


class _Client:
    """The store's side of one connection. It speaks RESP2 until it is asked for RESP3, as Redis does."""

    def __init__(self, store: FakeServer, broker: Publisher | None) -> None:
        self._broker = broker
        self._connection: Any = FakeAsyncRedisConnection(server=store, protocol=2)
        self._protocol = 2

    async def connect(self) -> None:
        await self._connection.connect()

    async def disconnect(self) -> None:
        await self._connection.disconnect()

    async def answer(self, command: Any) -> bytes:
        """The bytes to send back for one command."""
        if (
            not isinstance(command, list)
            or not command
            or not all(isinstance(word, bytes) for word in command)
        ):
            raise hiredis.ProtocolError("Protocol error: a command is an array of bulk strings")
        name = command[0].upper()
        if name in PUSHING:
            return _error(RedisError(f"the embedded store has no {name.decode()}"))
        if name == PUBLISH and self._broker is not None:
            try:
                await publish_words(self._broker, command[1:])
            except (BrokerUnavailable, ValueError) as error:
                return _error(error)
            return encode(b"OK", self._protocol)
        try:
            await self._connection.send_command(*command)
            reply = await self._connection.read_response(disable_decoding=True, disconnect_on_error=False)
        except RedisError as error:
            return _error(error)
        if name == b"HELLO" and len(command) > 1:
            self._protocol = int(command[1])
        return encode(reply, self._protocol)


def encode(reply: Any, protocol: int) -> bytes:
    """One reply as RESP2 or RESP3. Raises TypeError for what Redis could not have said."""
    match reply:
        case b"OK" | b"PONG" | b"QUEUED":
            return b"+%b\r\n" % reply
        case bytes() | str():
            return _bulk(reply if isinstance(reply, bytes) else reply.encode())
        case Exception():
            return _error(reply)
        case dict() | set() | frozenset() | list() | tuple():
            return _aggregate(reply, protocol)
    return _scalar(reply, resp3=protocol >= 3)


def _scalar(reply: Any, *, resp3: bool) -> bytes:
    match reply:
        case None:
            return b"_\r\n" if resp3 else b"$-1\r\n"
        case bool() if resp3:
            return b"#t\r\n" if reply else b"#f\r\n"
        case int():
            return b":%d\r\n" % reply
        case float():
            text = b"%.17g" % reply
            return b",%b\r\n" % text if resp3 else _bulk(text)
    raise TypeError(f"{type(reply).__name__} is no reply")


def _aggregate(reply: Any, protocol: int) -> bytes:
    mark, size, parts = b"*", len(reply), reply
    if isinstance(reply, dict):
        parts = [part for pair in reply.items() for part in pair]
        mark, size = (b"%", size) if protocol >= 3 else (b"*", len(parts))
    elif isinstance(reply, set | frozenset) and protocol >= 3:
        mark = b"~"
    return b"%b%d\r\n%b" % (mark, size, b"".join(encode(part, protocol) for part in parts))


def _bulk(text: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(text), text)


def _error(error: Exception) -> bytes:
    """redis-py takes the code off the text and keeps it, where it knows the code."""
    code = getattr(error, "status_code", None)
    text = f"{code} {error}" if code else str(error)
    if not text.partition(" ")[0].isupper():
        text = f"ERR {text}"
    return f"-{' '.join(text.splitlines())}\r\n".encode()
