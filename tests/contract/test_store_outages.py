"""A store that is frozen, full, gone or not there is told apart from a fault of one command, in time."""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvloop
from yarl import URL

from notifier.ports import AlreadySent
from shared import keyspace
from shared.errors import StoreUnavailable
from shared.orders.decisions import Created
from shared.orders.redis.decisions import RedisDecisionStore
from shared.orders.redis.reading import fetch_records
from shared.redis.client import Redis, open_redis, store_deadline
from shared.redis.scripts import Script, ScriptCall
from shared.redis.watch import StoreWatch
from shared.service.lifecycle import running
from tests.contract.test_notification_store import attempt
from tests.contract.test_sweep import archive, decided, lease_of, sweep_of
from tests.harness.examples import an_order, placed
from tests.harness.gateway import a_placement, order_store
from tests.harness.notifying import notification_store
from tests.harness.stores import RedisServer, free_port
from tests.harness.waiting import wait_until

pytestmark = pytest.mark.broker

DEADLINE = 0.2
A_CENTURY = 100 * 365 * 86_400.0
ECHO = Script("echo", "return ARGV[1]")


@asynccontextmanager
async def client_of(server: RedisServer) -> AsyncIterator[Any]:
    """A client with an empty store behind it."""
    async with open_redis(server.url, timeout_seconds=DEADLINE, max_connections=8) as redis:
        async with store_deadline(5.0):
            await redis.flushall()
        yield redis


def decisions_of(redis: Redis, timeout_seconds: float = DEADLINE) -> RedisDecisionStore:
    """A decision store that recreates any order."""
    return RedisDecisionStore(redis, timeout_seconds=timeout_seconds, oldest_recreated_seconds=A_CENTURY)


async def test_a_frozen_store_is_unavailable_within_the_deadline(redis_server: RedisServer) -> None:
    """Clients are answered in time, whatever the store's disk does."""
    async with client_of(redis_server) as redis:
        store = decisions_of(redis)
        await store.decide([placed(an_order("warm"))])
        with redis_server.frozen():
            began = time.monotonic()
            with pytest.raises(StoreUnavailable, match=r"within 0\.2 s"):
                await store.decide([placed(an_order("a")), placed(an_order("b"))])
            assert time.monotonic() - began < DEADLINE + 1.0


async def test_after_a_freeze_every_answer_belongs_to_its_question(redis_server: RedisServer) -> None:
    """A connection with an answer that nobody waited for must not serve the next question."""
    async with client_of(redis_server) as redis:

        async def ask(number: int) -> str:
            async with store_deadline(DEADLINE):
                answers = await ECHO.run_many(redis, [ScriptCall([], [number]), ScriptCall([], [number + 1])])
            return ",".join(answers)

        assert await ask(1) == "1,2"
        with redis_server.frozen():
            lost = await asyncio.gather(*(ask(100 + number) for number in range(20)), return_exceptions=True)
        assert all(isinstance(each, StoreUnavailable) for each in lost)

        async def answers() -> bool:
            try:
                return await ask(7) == "7,8"
            except StoreUnavailable:
                return False

        await wait_until(answers, timeout_seconds=10, what="the store to be back")
        for number in range(200, 230):
            assert await ask(number) == f"{number},{number + 1}"


async def test_what_a_frozen_store_did_after_all_is_found_by_asking_again(redis_server: RedisServer) -> None:
    """The outcome was unknown, and the same question converges."""
    async with client_of(redis_server) as redis:
        await redis.set("inventory:cable", 10)
        event = placed(an_order("a", cable=4))
        with redis_server.frozen(), pytest.raises(StoreUnavailable):
            await decisions_of(redis).decide([event])
        (decision,) = await decisions_of(redis, timeout_seconds=5.0).decide([event])
        assert isinstance(decision, Created)
        async with store_deadline(5.0):
            assert await redis.get("inventory:cable") == "6"
            assert await redis.get("orders.processed.count") == "1"


async def test_connections_that_the_store_has_closed_fail_nobody(redis_server: RedisServer) -> None:
    """Measured: after a restart every second one did, and a client was told 503 minutes later."""
    async with client_of(redis_server) as redis, client_of(redis_server) as other, store_deadline(10.0):
        await asyncio.gather(*(redis.ping() for _ in range(8)))
        await other.client_kill_filter(_type="normal", skipme=True)

        async def alone() -> bool:
            return len(await other.client_list()) == 1

        await wait_until(alone, what="the connections to be closed")
        assert await asyncio.gather(*(redis.ping() for _ in range(8))) == [True] * 8


def test_connections_that_were_reset_fail_nobody(redis_server: RedisServer) -> None:
    """On the services' event loop a write to such a one is a RuntimeError, which ended a whole gateway."""
    uvloop.run(_over_reset_connections(redis_server.url))


async def _over_reset_connections(url: str) -> None:
    async with (
        resettable(url) as (near_url, reset),
        open_redis(near_url, timeout_seconds=DEADLINE, max_connections=8) as redis,
    ):
        watch = asyncio.create_task(StoreWatch(redis, timeout_seconds=5.0, pause_seconds=0.01).run())
        for _ in range(5):
            async with store_deadline(5.0):
                assert await asyncio.gather(*(redis.ping() for _ in range(6))) == [True] * 6
                assert await ECHO.run_many(redis, [ScriptCall([], [7])]) == ["7"]
            idle = [each._writer for each in redis.connection_pool._available_connections]
            reset()
            await wait_until(
                lambda idle=idle: all(writer is None or writer.is_closing() for writer in idle),
                what="the resets to arrive",
            )
        assert not watch.done()
        watch.cancel()


@asynccontextmanager
async def resettable(url: str) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    """The store behind a port of its own, whose connections can be reset instead of ended."""
    store, near = URL(url), set[asyncio.StreamWriter]()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(store.host, store.port)
        near.add(writer)

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with suppress(OSError, RuntimeError):
                while received := await source.read(65_536):
                    target.write(received)
            target.close()

        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    def reset() -> None:
        for writer in near:
            end = writer.get_extra_info("socket")
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        near.clear()

    server = await asyncio.start_server(pass_on, "127.0.0.1", 0)
    try:
        yield str(store.with_port(server.sockets[0].getsockname()[1]).with_host("127.0.0.1")), reset
    finally:
        server.close()


async def test_a_full_store_is_unavailable_and_takes_no_half_of_an_order(redis_server: RedisServer) -> None:
    """No room is nobody's fault: the order waits, and is decided when there is room."""
    async with client_of(redis_server) as redis:
        await redis.set("inventory:cable", 10)
        await redis.set("inventory:case", 10)
        events = [placed(an_order("a", cable=4, case=2)), placed(an_order("b", cable=1))]
        redis_server.ask("CONFIG", "SET", "maxmemory", "1")
        try:
            for batch in (events, events[:1]):
                with pytest.raises(StoreUnavailable, match="maxmemory"):
                    await decisions_of(redis, 5.0).decide(batch)
            with pytest.raises(StoreUnavailable, match="maxmemory"):
                await order_store(redis).accept(a_placement())
            async with store_deadline(5.0):
                assert sorted(await redis.keys("*")) == ["inventory:cable", "inventory:case"]
                assert await redis.mget("inventory:cable", "inventory:case") == ["10", "10"]
        finally:
            redis_server.ask("CONFIG", "SET", "maxmemory", "0")
        decided = await decisions_of(redis, 5.0).decide(events)
        assert [type(decision) for decision in decided] == [Created, Created]


async def test_a_full_store_is_emptied_by_the_sweep(redis_server: RedisServer) -> None:
    """Measured: the sweep was refused for want of memory that only it could free, and so was its lease."""
    async with client_of(redis_server) as redis:
        async with store_deadline(5.0):
            await redis.set("inventory:cable", 10)
            await decided(redis, *(an_order(name, cable=1) for name in "abc"))
        redis_server.ask("CONFIG", "SET", "maxmemory", "1")
        try:
            lease = lease_of(redis)
            assert await lease.hold(10.0)
            assert await lease.hold(10.0)
            assert await sweep_of(redis, lease).sweep_once() == 3
        finally:
            redis_server.ask("CONFIG", "SET", "maxmemory", "0")
        assert await archive(redis) == {"delivered": "3", "sku:cable": "3"}


async def test_a_letter_that_went_out_is_marked_in_a_full_store(redis_server: RedisServer) -> None:
    """Or a notifier that is started again would send it again."""
    async with client_of(redis_server) as redis:
        notifications = notification_store(redis)
        mine = attempt()
        await notifications.claim([mine])
        redis_server.ask("CONFIG", "SET", "maxmemory", "1")
        try:
            await notifications.mark_sent([mine])
        finally:
            redis_server.ask("CONFIG", "SET", "maxmemory", "0")
        assert await notifications.claim([mine]) == [AlreadySent()]


async def test_a_store_that_is_not_there_is_unavailable() -> None:
    """A refused connection is the same to whoever asked."""
    url = f"redis://127.0.0.1:{free_port()}/0"
    async with open_redis(url, timeout_seconds=DEADLINE, max_connections=2) as redis:
        with pytest.raises(StoreUnavailable, match=r"^Redis: connecting to 127\.0\.0\.1:\d+: Connect.*[^.]$"):
            await decisions_of(redis).decide([placed()])
        for _ in range(3):  # more often than there are connections: none is lost to a failed attempt
            with pytest.raises(StoreUnavailable, match="connecting to"):
                await order_store(redis).get("a")


async def test_a_replica_that_takes_no_writes_is_unavailable(redis_server: RedisServer) -> None:
    """After a failover the old primary refuses; that is no fault of the order."""
    async with client_of(redis_server) as redis:
        redis_server.ask("REPLICAOF", "127.0.0.1", str(free_port()))
        try:
            with pytest.raises(StoreUnavailable, match="read only"):
                await order_store(redis).accept(a_placement())
        finally:
            redis_server.ask("REPLICAOF", "NO", "ONE")


async def test_a_busy_pool_is_unavailable_in_time(redis_server: RedisServer) -> None:
    """Whoever finds no connection is told so; nobody opens more than was allowed."""
    async with open_redis(redis_server.url, timeout_seconds=DEADLINE, max_connections=1) as redis:
        blocking = asyncio.ensure_future(redis.blpop(["nothing"], timeout=2))
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailable, match="did not answer"):
            await decisions_of(redis).decide([placed()])
        blocking.cancel()
        await asyncio.gather(blocking, return_exceptions=True)
        assert await order_store(redis).get("a") is None


async def test_a_broken_record_is_no_outage(redis_server: RedisServer) -> None:
    """A broken key must not look as if the whole store were away."""
    async with client_of(redis_server) as redis, store_deadline(5.0):
        await redis.set(keyspace.order("broken"), "x")
        assert await fetch_records(redis, ["broken", "none"]) == [None, None]


async def test_the_watch_follows_the_store(redis_server: RedisServer) -> None:
    """Readiness turns as the store goes and comes."""
    async with client_of(redis_server) as redis:
        watch = StoreWatch(redis, timeout_seconds=DEADLINE, pause_seconds=0.01)
        assert watch.unready_reason() == "not reached yet"
        async with running(watch.run()):
            await wait_until(lambda: watch.unready_reason() is None)
            with redis_server.frozen():
                await wait_until(lambda: watch.unready_reason() is not None)
            await wait_until(lambda: watch.unready_reason() is None)


@pytest.mark.parametrize(
    ("setting", "value", "kept"),
    [
        ("appendonly", "no", "yes"),
        ("appendfsync", "everysec", "always"),
        ("maxmemory-policy", "allkeys-lru", "noeviction"),
        ("no-appendfsync-on-rewrite", "yes", "no"),
    ],
)
async def test_each_setting_that_can_lose_an_acknowledged_write_makes_the_store_weak(
    redis_server: RedisServer, setting: str, value: str, kept: str
) -> None:
    """All of them are asked for, and the wrong one is named; put right, the store is durable again."""
    async with client_of(redis_server) as redis:
        watch = StoreWatch(redis, timeout_seconds=5.0, asks_durability=True)
        assert not watch.is_durable()
        await watch.look()
        assert (watch.is_durable(), watch.verdict(), watch.unready_reason()) == (True, "durable", None)
        redis_server.ask("CONFIG", "SET", setting, value)
        try:
            await watch.look()
            assert not watch.is_durable()
            assert f"{setting} is {value}" in watch.verdict()
        finally:
            redis_server.ask("CONFIG", "SET", setting, kept)
        await watch.look()
        assert watch.is_durable()


async def test_a_sentinel_at_the_store_makes_it_weak(redis_server: RedisServer) -> None:
    """A failover that Sentinel decides upon may lose what was acknowledged."""
    async with client_of(redis_server) as redis, client_of(redis_server) as sentinel:
        watch = StoreWatch(redis, timeout_seconds=5.0, asks_durability=True)
        await sentinel.client_setname("sentinel-1a2b3c-cmd")
        await watch.look()
        assert "Sentinel" in watch.verdict()


async def test_a_store_that_cannot_be_asked_is_weak_and_away(redis_server: RedisServer) -> None:
    """While nothing is known, nothing is promised."""
    async with client_of(redis_server) as redis:
        watch = StoreWatch(redis, timeout_seconds=DEADLINE, asks_durability=True)
        await watch.look()
        with redis_server.frozen():
            await watch.look()
            assert (watch.is_durable(), watch.unready_reason() is None) == (False, False)
