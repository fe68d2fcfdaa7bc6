"""Orders that belong to a customer: found by it, kept apart from those of others, and forgotten with it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.messages import Order, decode, encode, event_time
from shared.orders.model import OrderStatus
from shared.orders.placement import Accepted, Duplicate, KeyReused, Replayed
from shared.orders.ports import OrderFilter
from shared.orders.records import OrderRecord, placed_event
from shared.orders.redis import listing
from shared.orders.redis.store import RedisOrderStore
from tests.harness.examples import TRACE, an_order
from tests.harness.gateway import a_placement, order_store
from tests.harness.moving import ended
from tests.harness.shop import Shop


@pytest.fixture
def store(redis: Any) -> RedisOrderStore:
    """A gateway's store."""
    return order_store(redis, outbox_limit=10_000)


async def listed(store: RedisOrderStore, limit: int = 3, **wanted: Any) -> list[str]:
    """The ids on all pages, and that none is longer than it may be."""
    ids: list[str] = []
    cursor, status = None, wanted.pop("status", None)
    while True:
        page = await store.list(OrderFilter(status=status, **wanted), limit, cursor)
        assert len(page.orders) <= limit
        ids += [record.order.id for record in page.orders]
        cursor = page.next_cursor
        if cursor is None:
            return ids


async def test_a_list_ends_although_all_orders_of_a_customer_share_one_time(
    redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client chooses the time of scheduled orders: each page looks at so many and says where to go on."""
    monkeypatch.setattr(listing, "MOST_LOOKED_AT", 4)
    monkeypatch.setattr(listing, "RECORDS_PER_READ", 2)
    orders = order_store(redis)
    seconds, _ = await redis.time()
    at = (int(seconds) + 3_600) * 1_000_000
    for number in range(12):
        placement = a_placement(an_order(f"o{number}", cable=1), customer="ann", not_before=at)
        await orders.accept(placement)
    wanted, after, pages = OrderFilter(status=OrderStatus.DELIVERED, customer="ann"), None, 0
    while pages == 0 or after is not None:
        page = await orders.list(wanted, 1, after)
        assert page.orders == []
        after, pages = page.next_cursor, pages + 1
    assert pages == 3
    everything = await orders.list(OrderFilter(customer="ann"), 50, None)
    assert {each.order.id for each in everything.orders} == {f"o{number}" for number in range(12)}


async def test_the_record_says_whose_it_is(store: RedisOrderStore) -> None:
    """And is silent where it is nobody's."""
    await store.accept(a_placement(an_order("a"), customer="alice"))
    await store.accept(a_placement(an_order("b")))
    alices, nobodys = await store.get_many(["a", "b"])
    assert alices is not None
    assert nobodys is not None
    assert (alices.customer, nobodys.customer) == ("alice", None)


async def test_a_duplicate_says_whose_the_first_is(store: RedisOrderStore) -> None:
    """What may be told of it is not for the store to say."""
    await store.accept(a_placement(an_order("a"), customer="alice"))
    for customer in ("alice", "bob", None):
        again = (await store.accept(a_placement(an_order("a"), customer=customer))).result
        assert again == Duplicate(
            order_id="a", status=OrderStatus.ACCEPTED, same_content=True, customer="alice"
        )


async def test_each_customer_has_idempotency_keys_of_its_own(store: RedisOrderStore) -> None:
    """The same key of another one stands for another order, and without a token for a third."""
    for order_id, customer in (("a", "alice"), ("b", "bob"), ("c", None)):
        placement = a_placement(an_order(order_id), key="k", named=False, customer=customer)
        assert (await store.accept(placement)).result == Accepted(order_id=order_id)
        again = a_placement(an_order("again"), key="k", named=False, customer=customer)
        assert isinstance((found := (await store.accept(again)).result), Replayed)
        assert found.order_id == order_id
    other = a_placement(an_order("other", cable=9), key="k", named=False, customer="bob")
    assert (await store.accept(other)).result == KeyReused(order_id="b")


async def test_requests_are_compared_by_what_was_sent(store: RedisOrderStore) -> None:
    """An address that the server added, and added otherwise the next time, makes no other request of it."""
    sent = an_order("a")
    stored = [Order(id="a", items=sent.items, email=f"{name}@example.com") for name in ("old", "new")]
    first, second = [a_placement(order, key="k", customer="alice", sent=sent) for order in stored]
    assert isinstance((await store.accept(first)).result, Accepted)
    assert isinstance((await store.accept(second)).result, Replayed)
    again = (await store.accept(a_placement(stored[1], customer="alice", sent=sent))).result
    assert isinstance(again, Duplicate)
    assert again.same_content
    spelled_out = (await store.accept(a_placement(stored[0], customer="alice"))).result
    assert isinstance(spelled_out, Duplicate)
    assert not spelled_out.same_content
    record = await store.get("a")
    assert record is not None
    assert record.order == stored[0]


async def test_a_customers_orders_are_listed_newest_first(store: RedisOrderStore) -> None:
    """Without those of others, page by page."""
    for number in range(12):
        customer = ("alice", "bob", None)[number % 3]
        await store.accept(a_placement(an_order(f"o{number:02}"), customer=customer))
    assert await listed(store, customer="alice") == ["o09", "o06", "o03", "o00"]
    assert await listed(store, customer="carol") == []
    assert await listed(store, unowned=True) == ["o11", "o08", "o05", "o02"]
    assert len(await listed(store)) == 12


async def test_a_customers_orders_are_filtered_by_status(redis: Any, store: RedisOrderStore) -> None:
    """The pages are as long as they can be."""
    await redis.set("inventory:cable", 100)
    shop = Shop(redis)
    for number in range(8):
        order = an_order(f"o{number}", cable=1)
        await store.accept(a_placement(order, customer="alice"))
        if number % 2:
            await shop.decide(order)
    assert await listed(store, customer="alice", status=OrderStatus.CREATED) == ["o7", "o5", "o3", "o1"]
    assert await listed(store, customer="alice", status=OrderStatus.ACCEPTED) == ["o6", "o4", "o2", "o0"]
    page = await store.list(OrderFilter(status=OrderStatus.CREATED, customer="alice"), 4, None)
    assert len(page.orders) == 4


async def test_of_a_customers_orders_elsewhere_no_record_is_read(
    store: RedisOrderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are told by the index of the status, however many there are."""
    for number in range(8):
        await store.accept(a_placement(an_order(f"o{number}", cable=1), customer="alice"))
    read: list[str] = []
    get_many = store.get_many

    async def noted(order_ids: Sequence[str]) -> list[OrderRecord | None]:
        read.extend(order_ids)
        return await get_many(order_ids)

    monkeypatch.setattr(store, "get_many", noted)
    assert await listed(store, customer="alice", status=OrderStatus.DELIVERED) == []
    assert read == []
    assert len(await listed(store, customer="alice", status=OrderStatus.ACCEPTED)) == len(set(read)) == 8


async def test_a_page_looks_at_a_bounded_number_of_orders(
    store: RedisOrderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is picked from among very many comes on short pages, even empty ones, and in the end all of it."""
    monkeypatch.setattr(listing, "MOST_LOOKED_AT", 4)
    await store.accept(a_placement(an_order("first")))
    for number in range(20):
        await store.accept(a_placement(an_order(f"o{number:02}"), customer="alice"))
    page = await store.list(OrderFilter(unowned=True), 2, None)
    assert page.orders == []
    assert page.next_cursor is not None
    assert await listed(store, limit=2, unowned=True) == ["first"]


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_a_cursor_names_no_order_that_was_passed_over(
    store: RedisOrderStore, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """Clients can read it, and one without a token may not even know of those of customers."""
    monkeypatch.setattr(listing, "MOST_LOOKED_AT", 4)
    for number in range(30):
        customer = None if number % 7 in {0, 2} else "alice"
        await store.accept(a_placement(an_order(f"o{number:02}"), customer=customer))
    shown, named, cursor = [], set(), None
    while True:
        page = await store.list(OrderFilter(unowned=True), limit, cursor)
        shown += [record.order.id for record in page.orders]
        cursor = page.next_cursor
        if cursor is None:
            break
        named.add(cursor.order_id)
    assert shown == [f"o{number:02}" for number in range(29, -1, -1) if number % 7 in {0, 2}]
    assert named <= {*shown, listing.FIRST_ID}


async def test_an_acceptance_that_was_cut_is_finished_by_its_own_customer_alone(
    redis: Any, store: RedisOrderStore
) -> None:
    """Another one is told that the id is taken, and changes nothing."""
    await store.accept(a_placement(an_order("a"), customer="alice"))
    for index in ("orders:accepted", "outbox", "orders:customer:alice"):
        await redis.zrem(index, "a")
    await redis.delete("idemp:a")
    before = {key: await redis.type(key) for key in await redis.keys("*")}
    assert isinstance((await store.accept(a_placement(an_order("a"), customer="bob"))).result, Duplicate)
    assert {key: await redis.type(key) for key in await redis.keys("*")} == before
    assert (await store.accept(a_placement(an_order("a"), customer="alice"))).result == Accepted(order_id="a")
    assert await listed(store, customer="alice") == ["a"]


async def test_the_index_forgets_what_the_sweep_removes(redis: Any, store: RedisOrderStore) -> None:
    """And the key that was the customer's own."""
    await redis.set("inventory:cable", 100)
    shop = Shop(redis)
    old, new = an_order("old", cable=1), an_order("new", cable=1)
    for order in (old, new):
        await store.accept(a_placement(order, key=order.id, customer="alice"))
        await redis.zrem("outbox", order.id)
    await shop.decide(old)
    await ended(redis, "old")
    assert await shop.sweep(0.0).sweep_once() == 1
    assert await redis.zrange("orders:customer:alice", 0, -1) == ["new"]
    assert await redis.keys("idempkey:*") == ["idempkey:alice:new"]


async def test_a_record_that_is_recreated_is_its_customers_again(redis: Any, store: RedisOrderStore) -> None:
    """The message says whose it is, whatever the store has forgotten."""
    await store.accept(a_placement(an_order("a"), customer="alice"))
    record = await store.get("a")
    assert record is not None
    sent = encode(record.placed)
    assert b'"customer":"alice"' in sent
    await redis.flushall()
    await redis.set("inventory:cable", 100)
    decoded = decode(sent)
    assert decoded == record.placed
    await Shop(redis).decisions.decide([record.placed])
    assert await listed(store, customer="alice") == ["a"]
    recreated = await store.get("a")
    assert recreated is not None
    assert recreated.customer == "alice"


async def test_a_recreation_that_was_cut_is_finished(redis: Any, store: RedisOrderStore) -> None:
    """The index too."""
    await redis.set("inventory:cable", 100)
    placed = placed_event(an_order("a"), datetime.now(UTC), TRACE, customer="alice")
    shop = Shop(redis)
    await shop.decisions.decide([placed])
    for index in ("orders:created", "orders:rejected", "orders:customer:alice"):
        await redis.zrem(index, "a")
    record = await redis.hgetall("order:a")
    decision = (record["decided_at"], record["status"], record["reason"], "", "1", record["fingerprint"])
    await redis.set("decision:a", "\t".join(decision))
    await shop.decisions.decide([placed])
    assert await listed(store, customer="alice") == ["a"]


def test_a_message_about_nobodys_order_is_as_it_was_before() -> None:
    """To the byte: an older processor may read it."""
    assert b"customer" not in encode(placed_event(an_order("a"), event_time(1), TRACE))
