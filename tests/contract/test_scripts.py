"""Running Lua scripts: once, in one round trip, and found again when the store has forgotten them."""

import asyncio
from typing import Any

import pytest
from redis.exceptions import ResponseError

from shared.redis.client import Redis
from shared.redis.scripts import Script, ScriptCall

COUNT = Script("count", "return redis.call('INCRBY', KEYS[1], ARGV[1])")
OUR_SCRIPTS = [
    ("shared.orders.redis", "accept"),
    ("shared.orders.redis", "reserve"),
    ("shared.orders.redis", "delay"),
    ("shared.orders.redis", "sweep"),
    ("notifier", "claim"),
    ("notifier", "conclude"),
    ("shared.redis", "lease"),
]


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


async def test_a_call_that_fails_is_its_own_result(redis: Any) -> None:
    """One broken key among many is the fate of its own call."""
    await redis.rpush("broken", "x")
    first, broken, last = await COUNT.run_many(
        redis, [ScriptCall(["a"], [1]), ScriptCall(["broken"], [1]), ScriptCall(["a"], [1])]
    )
    assert (first, last) == (1, 2)
    assert isinstance(broken, ResponseError)
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await COUNT.run(redis, ["broken"], [1])


@pytest.mark.parametrize(("package", "name"), OUR_SCRIPTS, ids=[name for _, name in OUR_SCRIPTS])
async def test_our_scripts_are_found_and_compile(redis: Any, package: str, name: str) -> None:
    """They are files of their packages, and both stores take them."""
    script = Script.load(package, name)
    assert await redis.script_load(script.source) == script.sha


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
