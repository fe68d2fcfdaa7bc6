"""Each service's login may do what the service does, and nothing of what the others do.

That it may do its own is proved by the other suites here, whose adapters log in as their service does.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from redis.exceptions import NoPermissionError

from catalogue.cache import RedisCache
from catalogue.ports import Entry
from notifier.quota import RedisLetterQuota
from orderctl.native import packages, processes, redis as native_redis, stores
from orderctl.native.layout import Layout
from orderctl.native.ports import LOOPBACK, REDIS
from orderctl.native.secrets import Secrets
from shared import keyspace
from shared.redis.client import Redis, open_redis
from shared.redis.rights import rights_of, rules_of, users_of
from shared.redis.watch import StoreWatch
from shared.services import CACHE, SERVICES
from tests.harness.examples import an_order, created
from tests.harness.stores import START_SECONDS, RedisServer, free_port

pytestmark = pytest.mark.broker

ADMINISTRATION: Final = (
    *("FLUSHALL", "FLUSHDB", "KEYS *", "CONFIG SET appendonly no", "CONFIG REWRITE", "SHUTDOWN NOSAVE"),
    *("ACL LIST", "SCRIPT FLUSH", "FUNCTION FLUSH", "REPLICAOF NO ONE", "CLIENT KILL TYPE normal", "SAVE"),
    *("MONITOR", "DEBUG SLEEP 0"),
)
OTHERS: Final[Mapping[str, str]] = {
    "notifier": "SET inventory:cable 1",
    "catalogue": "HSET order:a status created",
    "accounts": "DEL inventory:cable",
    "order_processor": "DEL product:cable",
    "dashboard": "SET idemp:a 1",
    "api_gateway": "DEL notifications:a",
    "ledger": "XTRIM orders:log MAXLEN 0",
    "webhooks": "HSET order:a customer bob",
}
TWO_WRITES: Final = "redis.call('SET', KEYS[1], 'yes') return redis.call('SET', KEYS[2], 'yes')"
NEW: Final = "fraud_check"
"""A consumer that has no row in the table."""


@asynccontextmanager
async def client_of(server: RedisServer, login: str) -> AsyncIterator[Redis]:
    """One that logs in so."""
    async with open_redis(server.login_url(login), timeout_seconds=5.0, max_connections=4) as client:
        yield client


@asynccontextmanager
async def made(server: RedisServer, *rules: str) -> AsyncIterator[Redis]:
    """A client of a login with these rules, which is gone afterwards."""
    server.ask("ACL", "SETUSER", "made", "reset", "on", ">of-the-tests", *rules)
    url = f"redis://made:of-the-tests@{server.url.partition('@')[2]}"
    async with open_redis(url, timeout_seconds=5.0, max_connections=4) as client:
        yield client
    server.ask("ACL", "DELUSER", "made")


@pytest.mark.parametrize("service", SERVICES)
async def test_every_service_is_able_and_whoever_asks_finds_the_store_durable(
    redis_server: RedisServer, service: str
) -> None:
    """With its own rights to keys and commands; only the gateway may ask how durable the store is."""
    async with client_of(redis_server, service) as redis:
        asks = service == "api_gateway"
        watch = StoreWatch(redis, rights=rights_of(service), timeout_seconds=5.0, asks_durability=asks)
        await watch.look()
    assert (watch.unready_reason(), watch.is_durable()) == (None, asks)


@pytest.mark.parametrize("service", SERVICES)
def test_no_service_may_administer_the_store_or_touch_what_is_not_its_own(
    redis_server: RedisServer, service: str
) -> None:
    """Whatever a stolen password of one service opens, it is not the others' keys."""
    url = redis_server.login_url(service)
    for command in (*ADMINISTRATION, OTHERS[service]):
        assert native_redis.ask(url, *command.split()).startswith(("-NOPERM", "-ERR DEBUG")), command


def test_without_a_login_there_is_nothing(redis_server: RedisServer) -> None:
    """The default user is off."""
    assert native_redis.ask(f"redis://127.0.0.1:{redis_server.port}/0", "PING").startswith("-NOAUTH")


async def test_readiness_names_the_right_to_keys_that_is_missing(redis_server: RedisServer) -> None:
    """Before a script is refused in the middle of an order."""
    rules = [rule for rule in rules_of("dashboard") if rule != f"%R~{keyspace.LEDGER_POSITION}"]
    async with made(redis_server, *rules) as redis:
        watch = StoreWatch(redis, rights=rights_of("dashboard"), timeout_seconds=5.0)
        await watch.look()
        assert str(watch.unready_reason()).startswith(
            f"Redis: NOPERM no right to read {keyspace.LEDGER_POSITION}"
        )
        watch = StoreWatch(redis, rights=rights_of("notifier"), timeout_seconds=5.0)
        await watch.look()
        assert str(watch.unready_reason()).startswith("Redis: NOPERM no right to write notifications*")


async def test_a_new_consumer_has_the_keys_of_its_name(redis_server: RedisServer) -> None:
    """One folder and one row of the map are enough; more keys are a row in the table."""
    async with made(redis_server, *rules_of(NEW)) as redis:
        watch = StoreWatch(redis, rights=rights_of(NEW), timeout_seconds=5.0)
        await watch.look()
        assert watch.unready_reason() is None
        assert await redis.set(f"{NEW}:seen", 1, ex=60)
        with pytest.raises(NoPermissionError):
            await redis.set("order:a", 1)


async def test_the_cache_is_the_catalogues(redis_server: RedisServer) -> None:
    """With the rules of its own Redis; the dashboard sees whether it answers, and no more."""
    entry = Entry(key="product:case", sku="case")
    async with made(redis_server, *rules_of("catalogue", CACHE)) as redis:
        cache = RedisCache(redis, timeout_seconds=5.0, product_seconds=300.0, list_seconds=60.0)
        look = await cache.look(entry, may_read=True)
        await cache.fill(entry, look, "{}")
        assert (await cache.look(entry, may_read=True)).holds
        await cache.invalidate(["case"])
        assert not (await cache.look(entry, may_read=True)).holds
        watch = StoreWatch(redis, rights=rights_of("catalogue", CACHE), timeout_seconds=5.0)
        await watch.look()
        assert watch.unready_reason() is None
    async with made(redis_server, *rules_of("dashboard", CACHE)) as redis:
        watch = StoreWatch(redis, rights=rights_of("dashboard", CACHE), timeout_seconds=5.0)
        await watch.look()
        assert watch.unready_reason() is None
        with pytest.raises(NoPermissionError):
            await redis.get("answer:product:case")


async def test_the_notifier_may_count_and_collect_letters(redis_server: RedisServer) -> None:
    """What its quota keeps has no other suite on Redis."""
    async with client_of(redis_server, "notifier") as redis:
        quota = RedisLetterQuota(redis, per_hour=4, timeout_seconds=5.0)
        event: Any = created(an_order("a"))
        assert await quota.take("a@example.com", event.id, is_collected=False) == 0.0
        await quota.collect("a@example.com", {event.id: event})
        assert [each.id for each in await quota.collected("a@example.com")] == [event.id]
        await quota.forget("a@example.com", [event.id])


def test_a_redis_that_runs_since_before_there_were_logins_gets_them(tmp_path: Path) -> None:
    """``up`` with new code leaves it alive: from then on nobody comes in without a login."""
    layout, port = Layout(tmp_path), free_port()
    layout.create()
    command = [str(packages.redis_server()), "--port", str(port), "--bind", LOOPBACK, "--save", ""]
    record = processes.spawn(layout, REDIS, command, environment={}, cwd=tmp_path)
    try:
        assert processes.wait_until(lambda: stores.ready(layout, REDIS, port), START_SECONDS)
        for _ in range(2):
            stores.grant(layout, REDIS, port)
        assert native_redis.ask(f"redis://{LOOPBACK}:{port}/0", "PING").startswith("-NOAUTH")
        for service in SERVICES:
            assert native_redis.ask(native_redis.url(layout, port, service), "PING").startswith("+PONG")
        assert stores.ready(layout, REDIS, port)
    finally:
        processes.terminate(record, 5.0)


def test_what_a_script_wrote_is_there_after_a_kill(tmp_path: Path) -> None:
    """Redis reads its file as the default user, and asks for its rights where there is a transaction."""
    layout, port = Layout(tmp_path), free_port()
    layout.create()
    for value in ("", "yes"):
        record = stores.start(layout, REDIS, port)
        try:
            assert processes.wait_until(lambda: stores.ready(layout, REDIS, port), START_SECONDS)
            url = native_redis.url(layout, port, "order_processor")
            assert value in native_redis.ask(url, "GET", "order:a")
            assert native_redis.ask(url, "EVAL", TWO_WRITES, "2", "order:a", "order:b").startswith("+OK")
        finally:
            processes.kill(record)


def test_a_server_is_started_without_a_password_that_others_could_see(tmp_path: Path) -> None:
    """Neither a list of processes nor the file of users has one; both files are their owner's alone."""
    layout = Layout(tmp_path)
    layout.create()
    command = " ".join(native_redis.configure(layout, 6379))
    users = layout.part(REDIS) / native_redis.USERS
    passwords = [Secrets(layout).get(native_redis.secret(login)) for login in users_of(REDIS)]
    assert len(set(passwords)) == len(users_of(REDIS))
    assert not any(str(each) in command + users.read_text() for each in passwords)
    assert [path.stat().st_mode & 0o077 for path in (users, layout.secrets)] == [0, 0]
