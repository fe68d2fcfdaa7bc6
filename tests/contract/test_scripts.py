"""Running Lua scripts: once, in one round trip, whole, and found again when the store has forgotten them."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from shared import keyspace
from shared.errors import StoreUnavailable
from shared.orders.decisions import Created
from shared.orders.redis.decisions import RedisDecisionStore
from shared.orders.redis.scripts import load
from shared.redis.client import BrokenKey, Redis, open_redis
from shared.redis.scripts import READS, WORDS_OF_COMMANDS, Script, ScriptCall, calls_of
from tests.harness.examples import an_order, placed
from tests.harness.stores import RedisServer

COUNT = Script("count", "return redis.call('INCRBY', KEYS[1], ARGV[1])")
ROOT: Final = Path(__file__).parents[2]
HEAD: Final = "head"
"""Stands before the scripts of its folder and is none itself."""
OUR_SCRIPTS: Final = [
    load(path.stem) if path.with_stem(HEAD).exists() else Script(path.stem, path.read_text())
    for path in sorted(ROOT.rglob("*.lua"))
    if path.stem != HEAD
    and not any(part[0] == "." or part == "tests" for part in path.relative_to(ROOT).parts)
]
NEEDS: Final = [(script, command) for script in OUR_SCRIPTS for command in sorted(script.needs)]
COMMANDS: Final = sorted({command for _, command in NEEDS})
A_CENTURY: Final = 100 * 365 * 86_400.0
USER, PASSWORD = "service", "of-the-tests"


@asynccontextmanager
async def user_of(server: RedisServer, *rights: str) -> AsyncIterator[Redis]:
    """A client that logs in as a user who has all rights, then ``rights``."""
    server.ask("ACL", "SETUSER", USER, "reset", "on", f">{PASSWORD}", "~*", "&*", "+@all", *rights)
    url = f"redis://{USER}:{PASSWORD}@{server.url.partition('@')[2]}"
    async with open_redis(url, timeout_seconds=5.0, max_connections=4) as client:
        yield client
    server.ask("ACL", "DELUSER", USER)


async def contents(redis: Any) -> dict[str, object]:
    """Every key, as Redis would dump it."""
    found: dict[str, object] = {}
    for key in await redis.keys("*"):
        found[key] = await redis.eval("return redis.sha1hex(redis.call('DUMP', KEYS[1]))", 1, key)
    return found


async def test_a_script_that_the_store_does_not_know_is_loaded_and_run_once(redis: Any) -> None:
    """The first run after a restart of the store is as good as any."""
    assert await COUNT.run(redis, ["n"], [2]) == 2
    await redis.script_flush()
    assert await COUNT.run(redis, ["n"], [3]) == 5


async def test_many_calls_are_answered_in_order(redis: Any) -> None:
    """Each call gets its own result, whether the script was known or not."""
    await redis.script_flush()
    calls = [ScriptCall(["a"], [1]), ScriptCall(["b"], [10]), ScriptCall(["a"], [1])]
    assert await COUNT.run_many(redis, calls) == [1, 10, 2]
    assert await COUNT.run_many(redis, calls) == [3, 20, 4]


async def test_a_call_whose_own_key_is_broken_is_its_own_result(redis: Any) -> None:
    """One broken key of one SKU among many is the fate of its own call."""
    broken_key = keyspace.inventory("cable")
    await redis.rpush(broken_key, "x")
    first, broken, last = await COUNT.run_many(
        redis, [ScriptCall(["a"], [1]), ScriptCall([broken_key], [1]), ScriptCall(["a"], [1])]
    )
    assert (first, last) == (1, 2)
    assert isinstance(broken, BrokenKey)
    with pytest.raises(BrokenKey, match=r"inventory:cable is a list: .*WRONGTYPE"):
        await COUNT.run(redis, [broken_key], [1])


@pytest.mark.parametrize("value", [("RPUSH", "x"), ("APPEND", "many")], ids=["wrong type", "no integer"])
async def test_a_broken_key_that_all_orders_share_is_an_outage(redis: Any, value: tuple[str, str]) -> None:
    """It would be met by every message alike, and none of them is at fault."""
    command, text = value
    await redis.execute_command(command, keyspace.PROCESSED_COUNT, text)
    with pytest.raises(StoreUnavailable):
        await COUNT.run(redis, [keyspace.PROCESSED_COUNT, keyspace.order("a")], [1])


async def test_an_own_hash_without_a_number_is_its_own_fault(redis: Any) -> None:
    """What scripts count with is looked at too, not types alone."""
    script = Script("attempts", "return redis.call('HINCRBY', KEYS[1], 'attempts', 1)")
    await redis.hset(keyspace.notifications("a"), "attempts", "many")
    with pytest.raises(BrokenKey, match="notifications:a has no number"):
        await script.run(redis, [keyspace.notifications("a")], [])


@pytest.mark.parametrize("script", OUR_SCRIPTS, ids=lambda script: script.name)
async def test_our_scripts_compile_with_their_guard(redis: Any, script: Script) -> None:
    """Both stores take them."""
    assert await redis.script_load(script.text) == script.sha


@pytest.mark.parametrize("script", OUR_SCRIPTS, ids=lambda script: script.name)
def test_the_guard_knows_every_command_that_a_script_calls(script: Script) -> None:
    """Commands are named by literals alone; ``redis.call`` has no other name in a script."""
    code = re.sub(r"--[^\n]*", "", script.source)
    if script.name == "inbox":  # which asks for the right to each command that a handler wants itself
        code = code.replace("redis.pcall(unpack(write))", "", 1)
    mentions = re.findall(r"redis\s*[.\[]\s*['\"]?p?call\b", code)
    literal = re.findall(r"redis\.p?call\('(\w+)'", code)
    assert len(mentions) == len(literal)
    uncalled = {
        command
        for function, command in (("time_now(", "TIME"), ("enter(", "XADD"))
        if function not in code.partition(function)[2]
    }
    assert script.needs | uncalled == set(literal) | uncalled


@pytest.mark.parametrize("script", OUR_SCRIPTS, ids=lambda script: script.name)
def test_no_loop_of_a_script_both_looks_and_writes(script: Script) -> None:
    """Its second round would look after the first one wrote, which the guard does not see in the text."""
    for loop in re.findall(
        r"^( *)((?:for|while) .*?)(?:(?<= )end$|^\1end$)", script.source, re.DOTALL | re.M
    ):
        called = {command for command, _ in calls_of(loop[1])}
        assert not (called & READS and called - READS), loop[1]


@pytest.mark.broker
async def test_what_counts_as_a_look_is_no_write_to_redis(redis_server: RedisServer) -> None:
    """A script may be cut at any write but its first."""
    async with _root(redis_server) as root:
        found = await root.execute_command("COMMAND", "INFO", *COMMANDS)
    writes = {name.upper() for name, each in found.items() if "write" in each["flags"]}
    assert writes == set(COMMANDS) - READS


@pytest.mark.broker
async def test_a_question_about_a_command_has_as_many_words_as_the_command(redis_server: RedisServer) -> None:
    """Redis 8 refuses it with fewer; what is asked for is what Redis itself says of each command."""
    async with _root(redis_server) as root:
        found = await root.execute_command("COMMAND", "INFO", *COMMANDS)
    arities = {name.upper(): abs(each["arity"]) for name, each in found.items()}
    assert {command: WORDS_OF_COMMANDS[command] for command in COMMANDS} == arities


@pytest.mark.broker
@pytest.mark.parametrize(("script", "command"), NEEDS, ids=lambda each: getattr(each, "name", each))
async def test_a_right_that_is_missing_refuses_the_whole_script(
    redis_server: RedisServer, script: Script, command: str
) -> None:
    """Whichever it is, and whatever the script would have written before it."""
    async with user_of(redis_server, f"-{command.lower()}") as client, _root(redis_server) as root:
        await root.set("inventory:cable", 5)
        before = await contents(root)
        keys, words = [f"key:{number}" for number in range(16)], ["1"] * 20
        if command in dict(script.guarded):
            with pytest.raises(StoreUnavailable, match=f"NOPERM no right to run {command}"):
                await script.run(client, keys, words)
            assert await contents(root) == before
            return
        try:
            await script.run(client, keys, words)
        except (StoreUnavailable, BrokenKey):
            assert await contents(root) == before


@pytest.mark.broker
@pytest.mark.parametrize(
    "rights",
    [
        ("-mset",),
        ("-zadd",),
        ("-@write",),
        ("resetkeys", "~order*"),
        ("resetkeys", "~order*", "~stock.*", "%R~inventory:*"),
        ("-evalsha", "-eval"),
    ],
    ids=" ".join,
)
async def test_an_order_is_decided_whole_or_not_at_all(
    redis_server: RedisServer, rights: tuple[str, ...]
) -> None:
    """Reproduced without the guard: one piece gone, no outcome, and a second piece when asked again."""
    event = placed(an_order("a", cable=1, case=2))
    async with user_of(redis_server, *rights) as client, _root(redis_server) as root:
        await root.mset({"inventory:cable": 5, "inventory:case": 5})
        before = await contents(root)
        store = RedisDecisionStore(client, timeout_seconds=5.0, oldest_recreated_seconds=A_CENTURY)
        with pytest.raises(StoreUnavailable, match="NOPERM"):
            await store.decide([event])
        assert await contents(root) == before
        redis_server.ask("ACL", "SETUSER", USER, "+@all", "~*")
        assert [type(decision) for decision in await store.decide([event])] == [Created]
        assert await root.mget("inventory:cable", "inventory:case") == ["4", "3"]


@asynccontextmanager
async def _root(server: RedisServer) -> AsyncIterator[Any]:
    """Who may do everything, with an empty store."""
    async with open_redis(server.url, timeout_seconds=5.0, max_connections=2) as root:
        await root.flushall()
        yield root


async def test_a_cancelled_task_ends_wherever_the_cancellation_meets_it(redis: Redis) -> None:
    """No client library may swallow it: a service that drains would wait for that task for ever."""

    async def work() -> None:
        while True:
            await COUNT.run(redis, ["n"], [1])
            await asyncio.sleep(0)

    for turns in range(60):
        task = asyncio.create_task(work())
        for _ in range(turns % 20):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=5)
        assert done, f"lived on after {turns % 20} turns of the loop"
