"""The embedded store on its port: what redis-py, redis-cli and our scripts need of it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final, cast

import pytest
from fakeredis import FakeServer
from redis.asyncio import Redis as PlainRedis
from redis.exceptions import NoScriptError, ResponseError

from orderctl.embedded.infrastructure import EmbeddedInfrastructure
from orderctl.embedded.publishing import EmbeddedPublisher
from orderctl.embedded.store import encode, serve_store
from shared.errors import StoreUnavailable
from shared.messages import Trace
from shared.messaging.memory import MemoryBroker
from shared.messaging.ports import TRACEPARENT
from shared.messaging.settlement import message_of
from shared.pipeline import NOTIFIER
from shared.redis.client import Redis, open_redis
from shared.redis.scripts import Script, ScriptCall
from shared.redis.watch import StoreWatch
from tests.harness.examples import created
from tests.harness.stores import free_port

HOST = "127.0.0.1"
SECONDS = 5.0
TRACED: Final = f"00-{'a' * 32}-{'b' * 16}-01"


@pytest.fixture
def broker() -> MemoryBroker:
    """The queues beside the store."""
    return MemoryBroker()


@pytest.fixture
async def port(broker: MemoryBroker) -> AsyncIterator[int]:
    """Where a fresh store is served."""
    number = free_port()
    async with serve_store(FakeServer(), HOST, number, broker):
        yield number


@pytest.fixture
async def redis(port: int) -> AsyncIterator[Redis]:
    """The client that the services and `verify` use."""
    url = f"redis://{HOST}:{port}/0"
    async with open_redis(url, timeout_seconds=SECONDS, max_connections=4) as client:
        yield client


async def test_values_come_back_as_they_were_written(redis: Redis) -> None:
    """Line ends, letters beyond ASCII, numbers, and nothing at all."""
    await redis.hset("order:1", mapping={"text": "one\r\ntwo\tthrée", "empty": ""})
    await redis.zadd("index", {"a": 1.5, "b": 2})
    assert await redis.hgetall("order:1") == {"text": "one\r\ntwo\tthrée", "empty": ""}
    assert await redis.get("nothing") is None
    assert await redis.zrange("index", 0, -1, withscores=True) == [("a", 1.5), ("b", 2.0)]
    assert await redis.incr("count") == 1


async def test_scripts_are_loaded_when_they_are_missing(redis: Redis) -> None:
    """NOSCRIPT is told as such and the connection goes on; a thousand calls fit into one round trip."""
    script = Script("test", "return {redis.call('INCR', KEYS[1]), ARGV[1]}")
    with pytest.raises(NoScriptError):
        await redis.evalsha(script.sha, 1, "n", "x")
    results = await script.run_many(redis, [ScriptCall(["n"], [str(turn)]) for turn in range(1_000)])
    assert results[-1] == [1_000, "999"]


async def test_an_error_is_the_fate_of_its_own_command(redis: Redis) -> None:
    """Its neighbours in the pipeline are carried out, and the connection stays."""
    await redis.set("text", "x")
    async with redis.pipeline(transaction=False) as pipeline:
        _ = pipeline.incr("text")
        _ = pipeline.hgetall("text")
        _ = pipeline.execute_command("NONSENSE")
        _ = pipeline.get("text")
        results = await pipeline.execute(raise_on_error=False)
    assert [type(result) for result in results] == [ResponseError] * 3 + [str]
    assert "not an integer" in str(results[0])
    assert str(results[1]).startswith("WRONGTYPE")
    assert "unknown command" in str(results[2])


@pytest.mark.parametrize("protocol", [2, 3])
async def test_clients_choose_their_protocol(port: int, protocol: int) -> None:
    """RESP2 until one says otherwise; transactions work in both."""
    async with (
        PlainRedis(host=HOST, port=port, protocol=protocol, decode_responses=True) as client,
        client.pipeline(transaction=True) as pipeline,
    ):
        _ = pipeline.hset("h", mapping={"a": "1"})
        _ = pipeline.hgetall("h")
        assert (await pipeline.execute())[1] == {"a": "1"}


async def test_everybody_sees_the_same_store(port: int, redis: Redis) -> None:
    """What one connection wrote another one reads."""
    await redis.set("inventory:cable", 5)
    async with PlainRedis(host=HOST, port=port, decode_responses=True) as other:
        assert await other.get("inventory:cable") == "5"


async def test_its_port_takes_messages_to_queues(redis: Redis, broker: MemoryBroker) -> None:
    """Whole, with what stands beside the body; one for no queue is refused, and so are other words."""
    publisher = EmbeddedPublisher(redis, timeout_seconds=SECONDS)
    message = message_of(replace(created(), trace=Trace(correlation_id="c", traceparent=TRACED)))
    sent = replace(message, exchange="", routing_key=NOTIFIER.queue)
    await publisher.publish(sent)
    async with broker.subscribe(NOTIFIER.queue, prefetch=1) as subscription:
        (delivery,) = await subscription.receive(1)
    assert (delivery.body, delivery.correlation_id) == (sent.body, "c")
    assert delivery.headers == sent.headers == {TRACEPARENT: TRACED}
    with pytest.raises(StoreUnavailable, match="no queue takes"):
        await publisher.publish(replace(sent, routing_key="nowhere"))
    with pytest.raises(ResponseError):
        await cast("Any", redis).execute_command("BROKER.PUBLISH", NOTIFIER.queue)


async def test_what_pushes_is_refused(redis: Any) -> None:
    """With a reason, instead of an answer out of turn."""
    with pytest.raises(ResponseError, match="the embedded store has no MONITOR"):
        await redis.execute_command("MONITOR")


async def test_whoever_does_not_speak_the_protocol_is_told_and_left(port: int) -> None:
    """One error, then the end of the connection."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert (await reader.read()).startswith(b"-ERR ")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("reply", "resp2", "resp3"),
    [
        (None, b"$-1\r\n", b"_\r\n"),
        (True, b":1\r\n", b"#t\r\n"),
        (7, b":7\r\n", b":7\r\n"),
        (1.5, b"$3\r\n1.5\r\n", b",1.5\r\n"),
        (b"OK", b"+OK\r\n", b"+OK\r\n"),
        (b"a\r\nb", b"$4\r\na\r\nb\r\n", b"$4\r\na\r\nb\r\n"),
        ({b"a": 1}, b"*2\r\n$1\r\na\r\n:1\r\n", b"%1\r\n$1\r\na\r\n:1\r\n"),
        ({b"a"}, b"*1\r\n$1\r\na\r\n", b"~1\r\n$1\r\na\r\n"),
        ([b"a", [None]], b"*2\r\n$1\r\na\r\n*1\r\n$-1\r\n", b"*2\r\n$1\r\na\r\n*1\r\n_\r\n"),
        (ResponseError("bad\r\nnews"), b"-ERR bad news\r\n", b"-ERR bad news\r\n"),
    ],
)
def test_replies_on_the_wire(reply: object, resp2: bytes, resp3: bytes) -> None:
    """Each kind, in both protocols."""
    assert (encode(reply, 2), encode(reply, 3)) == (resp2, resp3)


async def test_the_gateway_finds_this_store_weak() -> None:
    """Nothing survives here, and the check that guards real stores says so by itself."""
    infrastructure = EmbeddedInfrastructure(MemoryBroker(), FakeServer())
    async with infrastructure.store(timeout_seconds=SECONDS, max_connections=2) as redis:
        watch = StoreWatch(redis, timeout_seconds=SECONDS, asks_durability=True)
        await watch.look()
    assert (watch.is_durable(), watch.unready_reason()) == (False, None)
    assert watch.verdict() == "weak (appendonly is no, appendfsync is no)"
