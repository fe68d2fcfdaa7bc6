"""A link to a broker keeps trying, whatever the other end does to its connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aio_pika.abc import AbstractConnection

from shared.errors import BrokerUnavailable
from shared.messaging.rabbitmq.connection import Link, LinkTimes, broker_errors
from shared.service.lifecycle import running
from tests.harness.waiting import wait_until

CONNECTION_START = bytes.fromhex("01 0000 0000 0010 000a 000a 00 09 00000000 00000000")
"""The beginning of the broker's first frame: it announces more than ever comes."""
ANSWERS = {"nothing": b"", "half a frame": CONNECTION_START, "no AMQP": b"HTTP/1.1 400 Bad Request\r\n\r\n"}


@asynccontextmanager
async def hanging_up(answer: bytes, *, reads: bool) -> AsyncIterator[tuple[int, list[int]]]:
    """A port whose owner says this and closes, as a proxy does while nobody listens behind it."""
    calls: list[int] = []

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(1)
        if reads:
            await reader.read(8)
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], calls


async def _nothing(_connection: AbstractConnection) -> None:
    """Nothing to set up."""


@pytest.mark.parametrize("reads", [False, True], ids=["at once", "after the greeting"])
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_a_peer_that_hangs_up_is_no_broker_and_no_crash(answer: bytes, reads: bool) -> None:
    """The link says why it is down and tries again; a proxy in front of a dead broker does just that."""
    async with hanging_up(answer, reads=reads) as (port, calls):
        link = Link(
            [f"amqp://guest:guest@127.0.0.1:{port}/"],
            name="test",
            on_open=_nothing,
            times=LinkTimes(connect=1.0),
        )
        async with running(link.run()):
            await wait_until(lambda: len(calls) > 1, what="a second attempt")
            assert f"connecting to 127.0.0.1:{port}" in str(link.unready_reason())


@pytest.mark.parametrize(
    "error", [StopAsyncIteration(), EOFError("nothing more"), ConnectionResetError(), Exception()], ids=repr
)
async def test_what_the_library_raises_when_a_peer_hangs_up_means_no_broker(error: Exception) -> None:
    """Which of them it is depends on when the end of the stream was noticed."""
    with pytest.raises(BrokerUnavailable, match="greeting"):
        async with broker_errors("greeting", 1.0):
            raise error


async def test_what_has_another_name_is_no_matter_of_the_brokers() -> None:
    """A bug is not hidden as an outage that would be waited out for ever."""
    with pytest.raises(KeyError):
        async with broker_errors("greeting", 1.0):
            raise KeyError("a bug")
