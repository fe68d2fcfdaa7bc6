"""A script that is cut after any of its writes, by a right that is gone or a crash of the command alone.

Asked again it goes on where it stopped, and nothing is taken, counted or promised twice.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, Final, TypeVar
from unittest import mock

import pytest
from redis.exceptions import ResponseError

from shared import keyspace
from shared.errors import StoreUnavailable
from shared.messages import Event, OrderPlaced
from shared.orders.decisions import Created, Rejected, Undecidable
from shared.orders.model import OrderStatus, Trouble
from shared.orders.moves import Moved
from shared.orders.placement import Accepted, Duplicate, Replayed
from shared.orders.ports import Noted
from shared.orders.redis import scripts
from shared.orders.redis.dead_letters import RedisOrderBooks
from shared.orders.redis.sweep import Sweep
from shared.redis.client import Redis, open_redis
from shared.redis.lease import Lease
from shared.redis.rights import OPERATOR
from shared.redis.scripts import READS, Script
from tests.contract.test_decision_store_failures import buried, waiting
from tests.harness.decisions import (
    A_CENTURY,
    accepted,
    decide_one,
    everything,
    indexes_of,
    is_logged,
    record_of,
    stocked,
    store_recreating,
)
from tests.harness.examples import an_order, placed
from tests.harness.gateway import a_placement, order_store
from tests.harness.moving import ended, moved
from tests.harness.shop import Shop
from tests.harness.stores import RedisServer, as_service

Result = TypeVar("Result")
WRITES: Final = ("DEL", "HDEL", "HSET", "MSET", "SADD", "SET", "SREM", "XADD", "ZADD", "ZREM")
MOST_WRITES: Final = 24
_TIME: Final = re.compile(r"[0-9]{16}")
_CUT: Final = """
local call, left, has_written = redis.call, %d, false
local writes, guarded = {%s}, {%s}
local redis = {call = function(name, ...)
  if has_written and not guarded[name] then error('no right to it was asked for: ' .. name) end
  if writes[name] then
    if left == 0 then error('cut') end
    left, has_written = left - 1, true
  end
  return call(name, ...)
end}
"""


@contextmanager
def cut_after(writes: int) -> Iterator[None]:
    """Scripts of orders that are loaded in the block end with an error in the place of their next write."""
    load = scripts.load

    def load_cut(name: str) -> Script:
        script = load(name)
        return Script(name, _CUT % (writes, _set_of(WRITES), _set_of(dict(script.guarded))) + script.source)

    modules = ("decisions", "dead_letters", "moves", "payments", "schedule", "store", "sweep")
    with ExitStack() as patches:
        for module in modules:
            patches.enter_context(mock.patch(f"shared.orders.redis.{module}.load", load_cut))
        yield


def _set_of(names: Iterable[str]) -> str:
    return ", ".join(f"{name} = true" for name in names)


async def uncut(work: Awaitable[Result]) -> Result | None:
    """What the work came to, None where it was cut."""
    try:
        result = await work
    except (ResponseError, StoreUnavailable):
        return None
    cut = [result] if isinstance(result, Undecidable) else result
    is_cut = isinstance(cut, list) and any(isinstance(each, Undecidable) for each in cut)
    return None if is_cut else result


def test_every_write_that_a_script_makes_can_be_cut() -> None:
    """The names above are all there are."""
    for name in (
        *(
            "accept",
            "decide",
            "delay",
            "due",
            "migrate",
            "move",
            "note",
            "pay",
            "republish",
            "revive",
            "sweep",
            "told",
        ),
    ):
        called = set(re.findall(r"redis\.call\('(\w+)'", scripts.load(name).source))
        assert called <= READS | set(WRITES), name


def timeless(keys: dict[str, Any]) -> dict[str, Any]:
    """The store without times, which differ from run to run, timelines and log, which tell of failures."""
    return {key: _timeless(value) for key, value in keys.items() if key != keyspace.LOG}


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        times = {name: "time" for name, text in value.items() if _TIME.fullmatch(text)}
        return value | times | {"timeline": ""}
    return [name for name, _ in value] if isinstance(value, list) else value


async def until_uncut(step: Callable[[int], Awaitable[bool]]) -> None:
    """Runs the step with a cut after 0, 1, 2… writes, until there are no more to cut."""
    for writes in range(MOST_WRITES):
        if not await step(writes):
            assert writes > 1, "nothing was cut"
            return
    raise AssertionError("it makes more writes than that")


async def prepared(redis: Any, *, is_recreated: bool, has_failed: bool) -> Event[OrderPlaced]:
    """Stock of three SKUs and an order of two of them, which waits for its decision."""
    await redis.flushall()
    await stocked(redis, cable=10, case=10)
    order = an_order("a", cable=3, case=2)
    if is_recreated:
        return placed(order)
    event = await accepted(redis, order)
    if has_failed:
        await store_recreating(redis, A_CENTURY).waits(event, waiting())
    return event


@pytest.mark.parametrize("has_failed", [False, True], ids=["fresh", "retried"])
@pytest.mark.parametrize("is_recreated", [False, True], ids=["accepted", "recreated"])
@pytest.mark.parametrize("stock", [10, 1], ids=["created", "rejected"])
async def test_a_decision_that_was_cut_is_finished(
    redis: Any, *, stock: int, is_recreated: bool, has_failed: bool
) -> None:
    """Whatever happens in between: its failure is noted, and another order takes of the same stock."""

    async def begun() -> Event[OrderPlaced]:
        event = await prepared(redis, is_recreated=is_recreated, has_failed=has_failed)
        await redis.set("inventory:case", stock)
        return event

    event = await begun()
    await decide_one(store_recreating(redis, A_CENTURY), event)
    await decide_one(store_recreating(redis, A_CENTURY), await accepted(redis, an_order("b", cable=1)))
    right = timeless(await everything(redis))

    async def cut(writes: int) -> bool:
        event = await begun()
        with cut_after(writes):
            answer = await uncut(decide_one(store_recreating(redis, A_CENTURY), event))
        whole = store_recreating(redis, A_CENTURY)
        if answer is not None:
            return False
        await whole.buried(event, buried())
        if writes:
            await decide_one(whole, await accepted(redis, an_order("b", cable=1)))
        first, again = await decide_one(whole, event), await decide_one(whole, event)
        if not writes:
            await decide_one(whole, await accepted(redis, an_order("b", cable=1)))
        assert isinstance(first, Created if stock == 10 else Rejected)
        assert first == again
        assert timeless(await everything(redis)) == right, f"cut after {writes} writes"
        assert await is_logged(redis)
        return True

    await until_uncut(cut)


async def test_a_drop_finishes_what_was_decided(redis: Any) -> None:
    """An operator who gives a half-written order up learns that it was decided."""

    async def cut(writes: int) -> bool:
        event = await prepared(redis, is_recreated=False, has_failed=True)
        with cut_after(writes):
            answer = await uncut(decide_one(store_recreating(redis, A_CENTURY), event))
        if answer is not None:
            return False
        (dropped,) = await RedisOrderBooks(as_service(redis, "dashboard"), timeout_seconds=5.0).drop([event])
        assert isinstance(dropped, Created if writes else Rejected)
        reserved = {"cable": "3", "case": "2"} if writes else {}
        assert await redis.hgetall(keyspace.RESERVED) == reserved
        assert await redis.get("inventory:cable") == ("7" if writes else "10")
        assert (await redis.get(keyspace.PROCESSED_COUNT), (await record_of(redis, "a")).sequence) == ("1", 1)
        return True

    await until_uncut(cut)


async def test_a_drop_that_was_cut_is_finished(redis: Any) -> None:
    """By the processor too, to which a copy of the message may go."""

    async def cut(writes: int) -> bool:
        event = await prepared(redis, is_recreated=False, has_failed=True)
        with cut_after(writes):
            answer = await uncut(
                RedisOrderBooks(as_service(redis, "dashboard"), timeout_seconds=5.0).drop([event])
            )
        if answer is not None:
            return False
        decision = await decide_one(store_recreating(redis, A_CENTURY), event)
        assert isinstance(decision, Rejected if writes else Created)
        assert await redis.get(keyspace.PROCESSED_COUNT) == "1"
        assert await indexes_of(redis, "a") == [(await record_of(redis, "a")).status]
        return True

    await until_uncut(cut)


@pytest.mark.parametrize("key", [None, "key"], ids=["without a key", "with a key"])
@pytest.mark.parametrize("client_named_id", [True, False], ids=["own id", "server's id"])
async def test_an_acceptance_that_was_cut_is_finished(
    redis: Any, *, key: str | None, client_named_id: bool
) -> None:
    """Asking again with the same id or key converges to one order, which is on its way."""
    if key is None and not client_named_id:
        pytest.skip("without a key the client names the id")

    async def cut(writes: int) -> bool:
        await redis.flushall()
        placement = a_placement(an_order("a", cable=1), key=key, named=client_named_id)
        with cut_after(writes):
            answer = await uncut(order_store(redis).accept(placement))
        if answer is not None:
            return False
        if not client_named_id:  # the server makes another one up
            placement = replace(placement, order=replace(placement.order, id="z"))
        result = (await order_store(redis).accept(placement)).result
        assert isinstance(result, Accepted | Replayed | Duplicate)
        order_id = result.order_id
        assert await redis.zrange(keyspace.OUTBOX, 0, -1) == [order_id]
        assert await redis.zrange(keyspace.orders_in(OrderStatus.ACCEPTED), 0, -1) == [order_id]
        if isinstance(result, Duplicate):
            assert result.same_content
        if key is not None:
            again = (await order_store(redis).accept(placement)).result
            assert again == Replayed(order_id=order_id, media_type=placement.media_type)
        return True

    await until_uncut(cut)


async def test_other_content_does_not_take_the_place_of_an_order_that_was_cut(redis: Any) -> None:
    """The first one may have been published; it is finished, and the second learns that the id is taken."""

    async def cut(writes: int) -> bool:
        await redis.flushall()
        with cut_after(writes):
            answer = await uncut(order_store(redis).accept(a_placement(an_order("a", cable=1), key="one")))
        if answer is not None:
            return False
        result = (await order_store(redis).accept(a_placement(an_order("a", cable=2), key="two"))).result
        assert isinstance(result, Duplicate if writes else Accepted)
        (item,) = (await record_of(redis, "a")).order.items
        assert item.qty == (1 if writes else 2)
        assert await redis.zrange(keyspace.OUTBOX, 0, -1) == ["a"]
        return True

    await until_uncut(cut)


@pytest.mark.parametrize("trouble", Trouble)
async def test_a_note_that_was_cut_is_finished(redis: Any, trouble: Trouble) -> None:
    """Record and indexes agree once it has been repeated."""

    async def cut(writes: int) -> bool:
        event = await prepared(redis, is_recreated=False, has_failed=trouble is Trouble.DEAD)

        async def note() -> bool:
            store = store_recreating(redis, A_CENTURY)
            await (
                store.waits(event, waiting(2))
                if trouble is Trouble.RETRYING
                else store.buried(event, buried())
            )
            return True

        with cut_after(writes):
            answer = await uncut(note())
        if answer is not None:
            return False
        await note()
        record = await record_of(redis, "a")
        assert (record.trouble, await indexes_of(redis, "a")) == (trouble, ["accepted", trouble.value])
        assert [step.step for step in record.timeline].count(trouble.value) == 1
        return True

    await until_uncut(cut)


async def test_a_revival_that_was_cut_is_finished(redis: Any) -> None:
    """A redrive that is asked for again."""

    async def cut(writes: int) -> bool:
        event = await prepared(redis, is_recreated=False, has_failed=False)
        await store_recreating(redis, A_CENTURY).buried(event, buried())
        mark = len(await redis.hget("order:a", "timeline"))

        noted = [Noted(order_id="a", trouble=Trouble.DEAD, mark=mark)]
        with cut_after(writes):
            await uncut(RedisOrderBooks(as_service(redis, "dashboard"), timeout_seconds=5.0).revive(noted))
        was_cut = (await record_of(redis, "a")).trouble is Trouble.DEAD
        await RedisOrderBooks(as_service(redis, "dashboard"), timeout_seconds=5.0).revive(noted)
        assert (await record_of(redis, "a")).trouble is Trouble.RETRYING
        assert await indexes_of(redis, "a") == ["accepted", "retrying"]
        return was_cut

    await until_uncut(cut)


@pytest.mark.parametrize("is_decided", [True, False], ids=["created", "accepted"])
async def test_a_cancellation_that_was_cut_is_finished(redis: Any, is_decided: bool) -> None:
    """By who asks again, and stock comes back once; until then the order makes no other move."""

    async def prepare() -> None:
        event = await prepared(redis, is_recreated=False, has_failed=not is_decided)
        if is_decided:
            await decide_one(store_recreating(redis, A_CENTURY), event)

    await prepare()
    await moved(redis, "a", OrderStatus.CANCELLED)
    whole = timeless(await everything(redis))

    async def cut(writes: int) -> bool:
        await prepare()
        with cut_after(writes):
            answer = await uncut(moved(redis, "a", OrderStatus.CANCELLED))
        if isinstance(answer, Moved):
            return False
        if writes:
            assert not isinstance(await moved(redis, "a", OrderStatus.PROCESSING), Moved)
        for _ in range(2):
            assert isinstance(await moved(redis, "a", OrderStatus.CANCELLED), Moved)
        assert timeless(await everything(redis)) == whole, f"cut after {writes} writes"
        assert await is_logged(redis)
        return True

    await until_uncut(cut)


async def test_verify_finishes_a_cancellation_that_was_cut(redis: Any) -> None:
    """Only its announcement is left."""

    async def cut(writes: int) -> bool:
        await redis.flushall()
        shop = Shop(redis)
        await stocked(redis, cable=10)
        await shop.complete(an_order("a", cable=3))
        with cut_after(writes):
            answer = await uncut(moved(redis, "a", OrderStatus.CANCELLED))
        if isinstance(answer, Moved):
            return False
        assert await shop.faults() == ({"unannounced": ["a"]} if writes else {})
        assert not await redis.exists(keyspace.move("a"))
        return True

    await until_uncut(cut)


async def test_a_removal_that_was_cut_is_finished(redis: Any) -> None:
    """By the next round; its sums are archived once."""

    def sweep() -> Sweep:
        lease = Lease(as_service(redis, "order_processor"), keyspace.SWEEP_LEASE, timeout_seconds=5.0)
        return Sweep(
            as_service(redis, "order_processor"), timeout_seconds=5.0, retention_seconds=-60.0, lease=lease
        )

    async def cut(writes: int) -> bool:
        event = await prepared(redis, is_recreated=False, has_failed=False)
        await decide_one(store_recreating(redis, A_CENTURY), event)
        await ended(redis, "a")
        with cut_after(writes):
            removed = await uncut(sweep().sweep_once())
        await sweep().sweep_once()
        archive = {"delivered": "1", "sku:cable": "3", "sku:case": "2"}
        found = await redis.hgetall(keyspace.ARCHIVE)
        assert found | archive == found, f"cut after {writes} writes"
        assert set(found) - set(archive) <= {"order:a"}  # its mark, which a later order of this id ignores
        assert not await redis.exists("order:a")
        assert await indexes_of(redis, "a") == []
        return not removed

    await until_uncut(cut)


@pytest.mark.broker
@pytest.mark.parametrize("right", [name.lower() for name in (*WRITES, *sorted(READS))])
async def test_a_right_that_is_gone_takes_no_piece_twice(redis_server: RedisServer, right: str) -> None:
    """Of any one command, as finding 1 has it: without it, then with it again, then once more."""
    async with open_redis(redis_server.url, timeout_seconds=5.0, max_connections=2) as redis:
        event = await prepared(redis, is_recreated=False, has_failed=False)
        store = store_recreating(redis, A_CENTURY)
        redis_server.ask("ACL", "SETUSER", OPERATOR, f"-{right}")
        try:
            await uncut(decide_one(store, event))
            await uncut(store.buried(event, buried()))
        finally:
            redis_server.ask("ACL", "SETUSER", OPERATOR, "+@all")
        for _ in range(2):
            assert isinstance(await decide_one(store, event), Created)
        assert await _reserved(redis) == {"cable": "3", "case": "2"}
        assert (await redis.get("inventory:cable"), await redis.get(keyspace.PROCESSED_COUNT)) == ("7", "1")
        assert await indexes_of(redis, "a") == ["created"]


async def _reserved(redis: Redis) -> dict[str, str]:
    reserved: Any = await redis.hgetall(keyspace.RESERVED)
    return dict(reserved)


async def test_verify_finishes_a_decision_that_was_cut(redis: Any) -> None:
    """Only the announcement is left, which is its message's to bring about."""

    async def cut(writes: int) -> bool:
        await redis.flushall()
        shop = Shop(redis)
        await stocked(redis, cable=10)
        order = an_order("a", cable=3)
        await shop.accept(order)
        with cut_after(writes):
            answer = await uncut(decide_one(store_recreating(redis, A_CENTURY), placed(order)))
        if answer is not None:
            return False
        assert await shop.faults() == ({"unannounced": ["a"]} if writes else {"stuck": ["a"]})
        assert not await redis.exists(keyspace.decision("a"))
        await shop.decide(order)
        assert await shop.faults() == {}
        return True

    await until_uncut(cut)
