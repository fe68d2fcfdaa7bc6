"""A link to a broker that a test can cut, such as after a publish and before its confirm."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.harness.waiting import wait_until

CHUNK_BYTES = 65_536


class Link:
    """Forwards bytes both ways until it is told to withhold the answers, and then to cut."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._answers = asyncio.Event()
        self._answers.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.withheld_bytes = 0
        self._refuses = False

    @property
    def is_used(self) -> bool:
        """Whether it has connections."""
        return bool(self._writers)

    def lead_to(self, port: int) -> None:
        """New connections go there from now on; those that there are stay where they are."""
        self._port = port

    def refuse(self) -> None:
        """Drops every connection, and each new one: the broker is gone."""
        self._refuses = True
        self.cut()

    def withhold_answers(self) -> None:
        """What the client sends still arrives; what the broker answers does not."""
        self._answers.clear()

    def cut(self) -> None:
        """Drops every connection at once, with whatever was withheld; new ones work again."""
        for writer in list(self._writers):
            writer.transport.abort()
        self._answers.set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client."""
        if self._refuses:
            writer.transport.abort()
            return
        upstream_reader, upstream_writer = await asyncio.open_connection(self._host, self._port)
        self._writers |= {writer, upstream_writer}
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(
                self._forward(reader, upstream_writer),
                self._forward(upstream_reader, writer, answers=True),
            )
        for each in (writer, upstream_writer):
            each.transport.abort()
            self._writers.discard(each)

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool = False
    ) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            if answers and not self._answers.is_set():
                self.withheld_bytes += len(chunk)
                await self._answers.wait()
            writer.write(chunk)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def link_to(host: str, port: int) -> AsyncIterator[tuple[Link, int]]:
    """A link on a port of its own, which it gives too."""
    link = Link(host, port)
    server = await asyncio.start_server(link.accept, "127.0.0.1", 0)
    async with server:
        yield link, server.sockets[0].getsockname()[1]
        link.cut()
        await wait_until(lambda: not link.is_used, what="connections ended")
