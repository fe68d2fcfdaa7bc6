"""A port in front of Redis that answers chosen commands itself, with an error of any name."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

LINE_END = b"\r\n"
AGGREGATES = {b"*": 1, b"~": 1, b">": 1, b"%": 2}


class RefusingStore:
    """Passes commands on one by one; those that ``refuses`` names get ``answer`` and never arrive."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self.answer = ""
        self.refuses: Callable[[str], bool] = lambda _: False
        self.refused = 0
        self._open: set[asyncio.StreamWriter] = set()

    def refuse(self, answer: str, *commands: str) -> None:
        """From now on ``commands``, or all if none is named, are answered with this error."""
        self.answer = answer
        self.refuses = lambda name: not commands or name in commands

    def heal(self) -> None:
        """From now on everything arrives."""
        self.refuses = lambda _: False

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client, until either side ends it."""
        near_reader, near_writer = await asyncio.open_connection(self._host, self._port)
        self._open |= {writer, near_writer}
        with contextlib.suppress(OSError, EOFError):
            while True:
                command = await _one(reader)
                name = command.split(LINE_END)[2].decode().upper()
                if self.refuses(name):
                    self.refused += 1
                    writer.write(f"-{self.answer}\r\n".encode())
                else:
                    near_writer.write(command)
                    writer.write(await _one(near_reader))
        await self._close(writer, near_writer)

    async def close(self) -> None:
        """Ends every connection."""
        await self._close(*self._open)

    async def _close(self, *writers: asyncio.StreamWriter) -> None:
        for writer in writers:
            self._open.discard(writer)
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def _one(reader: asyncio.StreamReader) -> bytes:
    """One command or answer, as it came. Raises EOFError."""
    line = await reader.readuntil(LINE_END)
    kind, count = line[:1], line[1:-2]
    if kind in b"$=" and count != b"-1":
        return line + await reader.readexactly(int(count) + 2)
    if kind in AGGREGATES and count != b"-1":
        return line + b"".join([await _one(reader) for _ in range(int(count) * AGGREGATES[kind])])
    return line


@asynccontextmanager
async def refusing_store(url: str) -> AsyncIterator[tuple[RefusingStore, str]]:
    """The store behind a port of its own, and its URL."""
    near = urlsplit(url)
    host = near.hostname or ""
    store = RefusingStore(host, near.port or 0)
    server = await asyncio.start_server(store.accept, host, 0)
    try:
        yield store, url.replace(f":{near.port}/", f":{server.sockets[0].getsockname()[1]}/")
    finally:
        server.close()
        await store.close()
