"""Accepting orders exactly once and reading them back, over the real script on both stores."""

import asyncio
from typing import Any

import orjson
import pytest

from shared import keyspace
from shared.errors import DecodeError, StoreUnavailable
from shared.history.schemas import as_json, order_summary
from shared.messages import encode_order
from shared.orders.model import OrderStatus, Trouble
from shared.orders.placement import Acceptance, Accepted, Duplicate, KeyReused, OutboxFull, Replayed
from shared.orders.ports import Cursor, OrderFilter, OrderPage
from shared.orders.records import read_record
from shared.orders.redis.scripts import load
from shared.orders.redis.store import RedisOrderStore, acceptance_call
from shared.redis.client import Redis
from tests.harness.examples import AT, TRACE, an_order
from tests.harness.gateway import JSON, TEXT, a_placement, order_store
from tests.harness.pricing import price


@pytest.fixture
def store(redis: Redis) -> RedisOrderStore:
    """A store whose outbox takes a hundred orders."""
    return order_store(redis)


async def is_accepted(store: RedisOrderStore, order_id: str) -> int:
    """Accepts a new order of that id and returns when it was accepted."""
    acceptance = await store.accept(a_placement(an_order(order_id)))
    assert acceptance.result == Accepted(order_id=order_id)
    assert acceptance.accepted_at is not None
    return acceptance.accepted_at


# --- accepting ----------------------------------------------------------------------------------------------


async def test_an_accepted_order_is_claimed_recorded_indexed_and_in_the_outbox(
    redis: Any, store: RedisOrderStore
) -> None:
    """All of it, at one instant."""
    order = an_order("a", email="a@example.com", cable=2)
    acceptance = await store.accept(a_placement(order))
    assert acceptance.result == Accepted(order_id="a")
    at = acceptance.accepted_at
    assert 86_390 < await redis.ttl("idemp:a") <= 86_400
    assert await redis.zrange("outbox", 0, -1, withscores=True) == [("a", at)]
    assert await redis.zrange("orders:accepted", 0, -1, withscores=True) == [("a", at)]
    record = await store.get("a")
    assert record is not None
    assert (record.order, record.status, record.trace) == (order, OrderStatus.ACCEPTED, TRACE)
    assert record.accepted_at_microseconds == at
    assert [(step.step, step.at) for step in record.timeline] == [("accepted", record.accepted_at)]
    assert await redis.ttl("order:a") == -1


@pytest.mark.parametrize("same", [True, False], ids=["the same content", "other content"])
async def test_the_same_id_again_is_a_duplicate_that_says_whether_the_content_is_the_same(
    redis: Any, store: RedisOrderStore, same: bool
) -> None:
    """A client that lost the answer learns that its order is there, and nothing is changed."""
    await is_accepted(store, "a")
    before = await redis.hgetall("order:a")
    again = await store.accept(a_placement(an_order("a", cable=1 if same else 2)))
    expected = Duplicate(order_id="a", status=OrderStatus.ACCEPTED, same_content=same)
    assert again == Acceptance(result=expected)
    assert await redis.hgetall("order:a") == before
    assert await redis.zcard("outbox") == 1


async def test_the_record_tells_duplicates_after_the_claim_has_expired(
    redis: Any, store: RedisOrderStore
) -> None:
    """A day later the same id is still the same order."""
    await is_accepted(store, "a")
    await redis.delete("idemp:a")
    again = await store.accept(a_placement(an_order("a")))
    assert again.result == Duplicate(order_id="a", status=OrderStatus.ACCEPTED, same_content=True)


async def test_a_claim_without_a_record_is_still_a_duplicate(redis: Any, store: RedisOrderStore) -> None:
    """Whoever deleted the record by hand does not get a second order for it."""
    await redis.set("idemp:a", "somebody", ex=100)
    again = await store.accept(a_placement(an_order("a")))
    assert again.result == Duplicate(order_id="a", status=None, same_content=False)
    assert await redis.exists("order:a") == 0


async def test_a_duplicate_tells_how_far_the_order_is(redis: Any, store: RedisOrderStore) -> None:
    """The status is that of the moment."""
    await is_accepted(store, "a")
    await redis.hset("order:a", mapping={"status": "created", "decided_at": 1})
    again = await store.accept(a_placement(an_order("a")))
    assert again.result == Duplicate(order_id="a", status=OrderStatus.CREATED, same_content=True)


async def test_a_script_that_is_run_again_by_the_client_library_finds_its_own_claim(redis: Redis) -> None:
    """A connection that drops after the script has run must not make an order its own duplicate."""
    script, order = load("accept"), an_order("a")

    async def run(token: str) -> Any:
        call = acceptance_call(a_placement(order), token, 100, 10)
        return await script.run(redis, call.keys, call.arguments)

    first, again, other = await run("token"), await run("token"), await run("another")
    assert first[0] == "new"
    assert again == first
    assert other[0] == "duplicate"


async def test_many_at_once_make_one_order(redis: Any, store: RedisOrderStore) -> None:
    """Of fifty requests for the same id one is accepted, and all others are told so."""
    acceptances = await asyncio.gather(*(store.accept(a_placement(an_order("a"))) for _ in range(50)))
    kinds = [type(acceptance.result) for acceptance in acceptances]
    assert (kinds.count(Accepted), kinds.count(Duplicate)) == (1, 49)
    assert await redis.zcard("outbox") == 1


@pytest.mark.parametrize("key", [None, "key"], ids=["without a key", "with a key"])
async def test_a_full_outbox_accepts_nothing_and_writes_nothing(redis: Any, key: str | None) -> None:
    """Whoever is told to come back later has left no trace, so that coming back works."""
    store = order_store(redis, outbox_limit=2)
    await is_accepted(store, "a")
    await is_accepted(store, "b")
    before = sorted(await redis.keys("*"))
    with pytest.raises(OutboxFull):
        await store.accept(a_placement(an_order("c"), key=key))
    assert sorted(await redis.keys("*")) == before
    assert (await store.accept(a_placement(an_order("a")))).result == Duplicate(
        order_id="a", status=OrderStatus.ACCEPTED, same_content=True
    )
    await redis.zrem("outbox", "a")
    assert (await store.accept(a_placement(an_order("c"), key=key))).result == Accepted(order_id="c")


@pytest.mark.parametrize(
    "key", ["idemp:a", "order:a", "orders:accepted", "outbox", "idempkey:alice:k", "orders:customer:alice"]
)
async def test_a_key_of_the_wrong_type_accepts_nothing_and_writes_nothing(
    redis: Any, store: RedisOrderStore, key: str
) -> None:
    """Redis does not roll a script back, so every key is looked at before the first is written."""
    await redis.rpush(key, "what?")
    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        await store.accept(a_placement(an_order("a"), key="k", customer="alice"))
    assert await redis.keys("*") == [key]


# --- Idempotency-Key ----------------------------------------------------------------------------------------


async def test_the_same_key_and_content_replays_the_first_answer(redis: Any, store: RedisOrderStore) -> None:
    """The id and the form of the first answer are kept; where the order waits is told."""
    await store.accept(a_placement(an_order("a"), key="k", media_type=TEXT))
    again = await store.accept(a_placement(an_order("a"), key="k"))
    assert again == Acceptance(result=Replayed(order_id="a", media_type=TEXT), waiting=True)
    await redis.zrem("outbox", "a")
    again = await store.accept(a_placement(an_order("a"), key="k"))
    assert again == Acceptance(result=Replayed(order_id="a", media_type=TEXT), waiting=False)


async def test_a_replay_needs_no_claim_and_no_room_in_the_outbox(redis: Any) -> None:
    """It makes no order, so nothing that forbids one matters."""
    store = order_store(redis, outbox_limit=1)
    await store.accept(a_placement(an_order("a"), key="k"))
    await redis.delete("idemp:a")
    again = await store.accept(a_placement(an_order("a"), key="k"))
    assert isinstance(again.result, Replayed)


async def test_a_server_made_id_is_no_part_of_the_content(redis: Any, store: RedisOrderStore) -> None:
    """Each request without an id gets a new one, and the key finds the first order all the same."""
    await store.accept(a_placement(an_order("made1"), key="k", named=False))
    again = await store.accept(a_placement(an_order("made2"), key="k", named=False))
    assert isinstance(again.result, Replayed)
    assert again.result.order_id == "made1"
    assert await redis.exists("order:made2") == 0


@pytest.mark.parametrize(
    ("order_id", "named", "quantity"),
    [("a", True, 2), ("b", True, 1), ("made", False, 1)],
    ids=["other items", "another id", "an id the client does not name this time"],
)
async def test_the_same_key_with_other_content_is_refused(
    redis: Any, store: RedisOrderStore, order_id: str, named: bool, quantity: int
) -> None:
    """A key stands for one request, and the order behind it is named."""
    await store.accept(a_placement(an_order("a", cable=1), key="k"))
    before = sorted(await redis.keys("*"))
    other = await store.accept(a_placement(an_order(order_id, cable=quantity), key="k", named=named))
    assert other.result == KeyReused(order_id="a")
    assert sorted(await redis.keys("*")) == before


async def test_another_key_with_a_known_id_is_a_duplicate(redis: Any, store: RedisOrderStore) -> None:
    """The id is claimed, whatever key asks for it; and that key stands for nothing."""
    await store.accept(a_placement(an_order("a"), key="k"))
    other = await store.accept(a_placement(an_order("a"), key="other"))
    assert isinstance(other.result, Duplicate)
    assert await redis.exists("idempkey:-:other") == 0


@pytest.mark.parametrize("key", ["k", "-:k", "alice:k"])
async def test_a_key_that_an_older_version_has_taken_is_known(
    redis: Any, store: RedisOrderStore, key: str
) -> None:
    """A client that asks again across the upgrade gets its first order, whatever signs its key has."""
    await store.accept(a_placement(an_order("made1"), key=key, named=False))
    await redis.rename(f"idempkey:-:{key}", f"idempkey:{key}")
    again = await store.accept(a_placement(an_order("made2"), key=key, named=False))
    assert again.result == Replayed(order_id="made1", media_type=JSON)
    other = await store.accept(a_placement(an_order("made3", cable=7), key=key, named=False))
    assert other.result == KeyReused(order_id="made1")
    mine = await store.accept(a_placement(an_order("made4"), key=key, named=False, customer="alice"))
    assert isinstance(mine.result, Accepted)


@pytest.mark.parametrize("customer", [None, "alice"])
async def test_a_key_that_looks_like_the_name_of_another_is_a_key_of_its_own(
    store: RedisOrderStore, customer: str | None
) -> None:
    """An older version's name of ``-:k`` is today's of ``k``."""
    await store.accept(a_placement(an_order("a"), key="k", named=False, customer=customer))
    other = await store.accept(a_placement(an_order("b"), key=f"{customer or '-'}:k", named=False))
    assert other.result == Accepted(order_id="b")


async def test_fifty_requests_with_one_key_make_one_order(redis: Any, store: RedisOrderStore) -> None:
    """Server-made ids included, each of which is different."""
    acceptances = await asyncio.gather(
        *(store.accept(a_placement(an_order(f"made{n}"), key="k", named=False)) for n in range(50))
    )
    kinds = [type(acceptance.result) for acceptance in acceptances]
    assert (kinds.count(Accepted), kinds.count(Replayed)) == (1, 49)
    assert await redis.zcard("orders:accepted") == 1


# --- reading ------------------------------------------------------------------------------------------------


async def test_an_order_that_does_not_exist_is_none(store: RedisOrderStore) -> None:
    """Absent is an answer."""
    assert await store.get("nobody") is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("order", "{"),
        ("order", '{"id": "a"}'),
        ("status", "lost"),
        ("accepted_at", "yesterday"),
        ("accepted_at", "9" * 30),
        ("timeline", "not a step"),
        ("sequence", "x"),
    ],
)
async def test_a_record_that_cannot_be_read_counts_as_absent_and_hides_no_other(
    redis: Any, store: RedisOrderStore, field: str, value: str
) -> None:
    """A field broken by hand is logged; the list goes on."""
    await is_accepted(store, "good")
    await is_accepted(store, "bad")
    await redis.hset("order:bad", field, value)
    assert await store.get("bad") is None
    page = await store.list(OrderFilter(), 10, None)
    assert [record.order.id for record in page.orders] == ["good"]


@pytest.mark.parametrize("missing", ["order", "status", "accepted_at"])
async def test_a_record_with_a_field_missing_is_a_decode_error_to_its_reader(
    redis: Any, store: RedisOrderStore, missing: str
) -> None:
    """Readers need to know one kind of error."""
    await is_accepted(store, "a")
    await redis.hdel("order:a", missing)
    with pytest.raises(DecodeError):
        read_record(await redis.hgetall("order:a"))
    assert await store.get("a") is None


async def test_a_record_of_the_wrong_type_counts_as_absent_too(redis: Any, store: RedisOrderStore) -> None:
    """One broken key must not take the list, or the relay, down."""
    await is_accepted(store, "good")
    await is_accepted(store, "bad")
    await redis.delete("order:bad")
    await redis.set("order:bad", "a string")
    assert await store.get("bad") is None
    assert [record is None for record in await store.get_many(["good", "bad", "none"])] == [False, True, True]


async def test_no_orders_are_read_without_asking_the_store(store: RedisOrderStore) -> None:
    """An empty page is no reason for a round trip."""
    assert await store.get_many([]) == []


# --- listing ------------------------------------------------------------------------------------------------


async def listed(redis: Any, *places: tuple[str, int, str]) -> None:
    """Orders by id, time of acceptance after AT, and status."""
    for order_id, at, status in places:
        fields = {"order": encode_order(an_order(order_id)), "status": status, "accepted_at": AT + at}
        await redis.hset(keyspace.order(order_id), mapping=fields)
        await redis.zadd(f"orders:{status}", {order_id: AT + at})


async def every_page(store: RedisOrderStore, status: OrderStatus | None, limit: int) -> list[list[str]]:
    """All pages, by following the cursor."""
    pages: list[list[str]] = []
    cursor: Cursor | None = None
    while True:
        page: OrderPage = await store.list(OrderFilter(status=status), limit, cursor)
        pages.append([record.order.id for record in page.orders])
        cursor = page.next_cursor
        if cursor is None:
            return pages


async def test_orders_are_listed_newest_first_whatever_their_status(
    redis: Any, store: RedisOrderStore
) -> None:
    """The indexes by status make one list."""
    await listed(redis, ("a", 1, "created"), ("b", 3, "accepted"), ("c", 2, "rejected"), ("d", 4, "shipped"))
    assert await every_page(store, None, 10) == [["d", "b", "c", "a"]]


async def test_the_cursor_leads_through_every_order_once(redis: Any, store: RedisOrderStore) -> None:
    """The last page says that it is the last, full or not."""
    await listed(redis, *((f"o{n}", n, "created" if n % 2 else "accepted") for n in range(7)))
    newest_first = [f"o{n}" for n in reversed(range(7))]
    assert await every_page(store, None, 3) == [newest_first[:3], newest_first[3:6], newest_first[6:]]
    assert await every_page(store, None, 7) == [newest_first]


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
async def test_orders_of_the_same_instant_are_neither_lost_nor_repeated(
    redis: Any, store: RedisOrderStore, limit: int
) -> None:
    """Ties are broken by the id, across pages and statuses."""
    await listed(redis, *((order_id, 5, "created") for order_id in "abcde"))
    await listed(redis, *((order_id, 5, "rejected") for order_id in "fg"), ("old", 1, "created"))
    pages = await every_page(store, None, limit)
    assert [order_id for page in pages for order_id in page] == [*"gfedcba", "old"]
    assert all(len(page) == limit for page in pages[:-1])


async def test_one_status_can_be_listed_alone(redis: Any, store: RedisOrderStore) -> None:
    """An operator looks at the dead ones."""
    await listed(redis, ("a", 1, "created"), ("b", 2, "rejected"), ("c", 3, "rejected"))
    assert await every_page(store, OrderStatus.REJECTED, 1) == [["c"], ["b"]]
    assert await every_page(store, OrderStatus.SHIPPED, 1) == [[]]


async def test_orders_in_one_trouble_can_be_listed_alone(redis: Any, store: RedisOrderStore) -> None:
    """An operator looks at the dead ones; whatever is decided is in no trouble."""
    await listed(redis, ("a", 1, "accepted"), ("b", 2, "accepted"), ("c", 3, "created"))
    await redis.zadd("orders:dead", {"b": 2})
    for status in (None, OrderStatus.ACCEPTED):
        page = await store.list(OrderFilter(status=status, trouble=Trouble.DEAD), 10, None)
        assert [record.order.id for record in page.orders] == ["b"]
    assert (
        await store.list(OrderFilter(status=OrderStatus.CREATED, trouble=Trouble.DEAD), 10, None)
    ).orders == []
    assert (await store.list(OrderFilter(trouble=Trouble.RETRYING), 10, None)).orders == []


async def test_an_order_found_in_two_indexes_is_shown_once(redis: Any, store: RedisOrderStore) -> None:
    """It was decided while the list was read."""
    await listed(redis, ("a", 1, "created"), ("b", 2, "created"))
    await redis.zadd("orders:accepted", {"b": AT + 2})
    assert await every_page(store, None, 2) == [["b", "a"]]


@pytest.mark.parametrize(("orders", "name"), [(130, ""), (60, '"' * 200), (40, "\U0001f600" * 200)])
async def test_a_page_of_long_orders_is_shorter_and_leaves_none_out(
    redis: Redis, orders: int, name: str
) -> None:
    """200 orders of 100 items do not fit into one answer as JSON, however products are called."""
    store = order_store(redis, outbox_limit=1_000)
    long = {f"{'s' * 60}{number:04}": 10_000 for number in range(100)}
    for sku in long if name else ():
        await price(redis, sku, 1_000_000_000, name=name)
    ids = [f"o{number:03}" for number in range(orders)]
    for order_id in ids:
        await store.accept(a_placement(an_order(order_id, email=f"{'a' * 64}@x.example", **long)))
    seen: list[str] = []
    cursor: Cursor | None = None
    while True:
        page = await store.list(OrderFilter(), 200, cursor)
        body = orjson.dumps([as_json(order_summary(each)) for each in page.orders], option=orjson.OPT_UTC_Z)
        assert len(body) <= 1_048_576
        seen += [record.order.id for record in page.orders]
        cursor = page.next_cursor
        if cursor is None:
            break
        assert len(body) > 400_000
    assert seen == ids[::-1]


async def test_an_unreadable_record_at_the_end_of_a_page_hides_no_other(
    redis: Any, store: RedisOrderStore
) -> None:
    """The next one takes its place."""
    for order_id in ("a", "b", "c"):
        await is_accepted(store, order_id)
    await redis.hset("order:b", "order", "{")
    page = await store.list(OrderFilter(), 2, None)
    assert [record.order.id for record in page.orders] == ["c", "a"]
    assert page.next_cursor is None
