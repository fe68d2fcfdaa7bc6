"""Verifying what the real scripts have written, over both stores: sound, and found out when tampered with."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from orderctl.errors import OrderctlError
from orderctl.ledger import LedgerWriter
from orderctl.oracle import FAULTS
from orderctl.verification.promises import Promises, read_promises
from orderctl.verification.report import as_json
from orderctl.verification.snapshot import SnapshotReader
from shared import keyspace
from shared.messages import OrderItem
from shared.messaging.retry import Bury, History
from shared.orders.model import OrderStatus
from shared.orders.redis.reading import Unfinished, count_unfinished
from shared.redis.client import Redis
from shared.redis.lease import Lease
from tests.harness.examples import an_order, placed
from tests.harness.moving import ended
from tests.harness.pricing import price
from tests.harness.shop import SECONDS, Shop, orders, promised, shop_of_four
from tests.harness.waiting import wait_until

Tampering = Callable[[Any], Awaitable[object]]


@pytest.fixture
async def shop(redis: Any) -> Shop:
    """Three orders that were created and one that was rejected, of which all customers were told."""
    return await shop_of_four(redis)


async def brought_to_their_end(shop: Shop) -> None:
    """Two are delivered, one is cancelled."""
    for order_id in ("o1", "o2"):
        await ended(shop.redis, order_id)
    await ended(shop.redis, "o3", OrderStatus.CANCELLED)


# --- what is sound ------------------------------------------------------------------------------------------


async def test_what_the_scripts_write_is_sound(shop: Shop) -> None:
    """Nothing is blamed, with or without a ledger."""
    outcome = await shop.verify(promised(*orders(4)))
    verdict = outcome.verdict
    assert verdict.why == {}
    assert (verdict.orders, verdict.created, verdict.rejected, verdict.told) == (4, 3, 1, 4)
    assert (await shop.verify()).verdict.passed


async def test_the_amounts_of_created_orders_are_summed_up(shop: Shop) -> None:
    """By currency; each total is that of its lines times pieces."""
    await shop.redis.set(keyspace.inventory("case"), 10)
    await price(shop.redis, "case", 1999)
    await price(shop.redis, "cable", 250)
    await shop.complete(an_order("p1", case=2, cable=1), an_order("p2", case=1), an_order("p3", cable=9))
    await price(shop.redis, "case", 500, "JPY")
    await shop.complete(an_order("p4", case=3))
    outcome = await shop.verify()
    assert outcome.verdict.faults() == {}
    assert outcome.verdict.amounts == {"EUR": 2 * 1999 + 250 + 1999, "JPY": 1500}
    assert as_json(outcome)["amounts"] == {"EUR": 6247, "JPY": 1500}


async def test_an_empty_store_passes(redis: Redis) -> None:
    """Before the first order there is nothing to complain about."""
    assert (await Shop(redis).verify()).verdict.passed


async def test_every_order_is_read_once_however_many_share_an_instant(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages neither skip nor repeat orders, also where more than a page of them came at one time."""
    monkeypatch.setattr("orderctl.verification.reading.PAGE", 10)
    many = orders(37, start=5)
    await shop.complete(*many)
    for index, order in enumerate(many):
        at = 1_750_000_000_000_000 + (0 if index < 23 else index)
        await shop.redis.zadd(keyspace.orders_in(OrderStatus.REJECTED), {order.id: at})
    verdict = (await shop.verify()).verdict
    assert verdict.faults() == {}
    assert verdict.orders == len(many) + 4


async def test_what_is_under_way_is_counted_in_orders(shop: Shop) -> None:
    """Accepted, decided and not told, in the outbox; neither what is finished nor what lies dead."""
    assert not await count_unfinished(shop.redis)
    accepted, decided, dead = orders(3, start=5)
    await shop.accept(accepted, decided, dead)
    await shop.decide(decided, tell=False)
    await shop.decisions.buried(placed(dead), Bury(history=History(attempts=1, reason="broken_stock")))
    await shop.redis.zadd(keyspace.OUTBOX, {accepted.id: 1})
    assert await count_unfinished(shop.redis) == Unfinished(undecided=1, untold=1, outbox=1)


async def test_archived_orders_keep_the_books_balanced(shop: Shop) -> None:
    """After the sweep has removed orders, their decisions and their stock are accounted for."""
    await brought_to_their_end(shop)
    assert await shop.sweep(retention_seconds=0.0).sweep_once() == 4
    await shop.complete(*orders(2, start=5))
    outcome = await shop.verify()
    assert outcome.verdict.faults() == {}
    assert (outcome.verdict.orders, outcome.snapshot.stock.archived_orders) == (2, 4)


async def test_a_sweep_between_cut_and_count_is_noticed(shop: Shop) -> None:
    """Orders that were removed while they were counted are counted again from a new cut."""
    await brought_to_their_end(shop)
    swept = False
    take = SnapshotReader.take

    async def take_then_sweep(self: SnapshotReader) -> Any:
        nonlocal swept
        snapshot = await take(self)
        if not swept:
            swept = True
            await shop.redis.delete(keyspace.SWEEP_LEASE)
            assert await shop.sweep(retention_seconds=0.0).sweep_once() == 4
            await shop.redis.delete(keyspace.SWEEP_LEASE)
        return snapshot

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SnapshotReader, "take", take_then_sweep)
        outcome = await shop.verify()
    assert swept
    assert outcome.verdict.faults() == {}
    assert outcome.snapshot.stock.archived_orders == 4


async def test_nothing_is_removed_while_orders_are_counted(shop: Shop) -> None:
    """The sweep rests under the lease that it would need."""
    await shop.verify()
    assert not await Lease(shop.redis, keyspace.SWEEP_LEASE, timeout_seconds=SECONDS).hold(1.0)


async def test_claims_that_have_expired_with_the_retention_are_not_missed(shop: Shop) -> None:
    """An order that the sweep has not reached yet may outlive the note that its customer was told."""
    await shop.redis.delete(keyspace.notification_claim("o1:order.created.v1"))
    outcome = await shop.verify(retention_seconds=0.0)
    assert outcome.verdict.faults() == {}


async def test_orders_decided_while_they_are_counted_change_nothing(shop: Shop) -> None:
    """The cut holds: what is decided and reserved after it has a higher number."""
    await shop.redis.incrby(keyspace.inventory("cable"), 10)
    await shop.redis.hincrby(keyspace.SUPPLIED, "cable", 10)
    await shop.accept(*orders(3, start=5))
    take = SnapshotReader.take

    async def take_then_decide(self: SnapshotReader) -> Any:
        snapshot = await take(self)
        await shop.decide(*orders(3, start=5))
        return snapshot

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SnapshotReader, "take", take_then_decide)
        verdict = (await shop.verify()).verdict
    assert verdict.faults() == {}
    assert (verdict.orders, verdict.created) == (7, 6)
    assert verdict.changed_by_hand == []


# --- what was tampered with ---------------------------------------------------------------------------------

TAMPERED: list[tuple[str, Tampering, dict[str, list[str]]]] = [
    (
        "the record of a created order deleted",
        lambda redis: redis.delete("order:o1"),
        {"lost": ["o1"], "duplicated": ["cable"]},
    ),
    (
        "a rejected order deleted and forgotten",
        lambda redis: _each(redis.delete("order:o4"), redis.zrem("orders:rejected", "o4")),
        {"lost": ["decision 4"]},
    ),
    ("less reserved", lambda redis: redis.hincrby("stock.reserved", "cable", -2), {"oversold": ["cable"]}),
    ("more reserved", lambda redis: redis.hincrby("stock.reserved", "cable", 2), {"duplicated": ["cable"]}),
    ("stock below zero", lambda redis: redis.set("inventory:cable", -1), {"oversold": ["cable"]}),
    ("a number twice", lambda redis: redis.hset("order:o2", "sequence", 1), {"duplicated": ["o2"]}),
    (
        "a number too high",
        lambda redis: redis.hset("order:o4", "sequence", 99),
        {"lost": ["decision 4"], "unexpected": ["o4"]},
    ),
    ("a decision not counted", lambda redis: redis.hdel("order:o4", "sequence"), {"unexpected": ["o4"]}),
    (
        "a created order made rejected",
        lambda redis: redis.hset("order:o1", "status", "rejected"),
        {"duplicated": ["cable"], "unexpected": ["o1"], "unannounced": ["o1"]},
    ),
    (
        "a rejected order made created",
        lambda redis: redis.hset("order:o4", "status", "created"),
        {"oversold": ["cable"], "unexpected": ["o4"], "unannounced": ["o4"]},
    ),
    (
        "a decided order made accepted",
        lambda redis: redis.hset("order:o4", mapping={"status": "accepted", "decided_at": ""}),
        {"lost": ["decision 4"], "unexpected": ["o4"], "stuck": ["o4"]},
    ),
    (
        "a decision under an order that is listed as accepted",
        lambda redis: redis.zadd("orders:accepted", {"o4": 1}),
        {"duplicated": ["o4"], "unexpected": ["o4"]},
    ),
    (
        "a total that does not count the pieces",
        lambda redis: redis.hset("order:o1", "prices", "EUR\t1999\n1999\tCable"),
        {"mispriced": ["o1"]},
    ),
    (
        "a total that is gone",
        lambda redis: redis.hset("order:o1", "prices", "EUR\t\n1999\tCable"),
        {"mispriced": ["o1"]},
    ),
    (
        "prices that cannot be read",
        lambda redis: redis.hset("order:o4", "prices", "EUR\t3998"),
        {"unexpected": ["o4"]},
    ),
    (
        "nobody told",
        lambda redis: redis.delete("notif:o1:order.created.v1"),
        {"unannounced": ["o1"]},
    ),
    (
        "told the opposite",
        lambda redis: redis.rename("notif:o1:order.created.v1", "notif:o1:order.rejected.v1"),
        {"unexpected": ["o1"], "unannounced": ["o1"]},
    ),
    (
        "told the opposite as well",
        lambda redis: redis.set("notif:o1:order.rejected.v1", "sent"),
        {"unexpected": ["o1"], "duplicated": ["o1"]},
    ),
    (
        "a notification about the opposite",
        lambda redis: redis.hset("notifications:o1", "event_id", "o1:order.rejected.v1"),
        {"unexpected": ["o1"]},
    ),
    (
        "a notification that failed of a customer who was told",
        lambda redis: redis.hset("notifications:o1", "status", "failed"),
        {"unexpected": ["o1"]},
    ),
    ("a record of another type", lambda redis: _replaced(redis, "order:o4", "text"), {"unexpected": ["o4"]}),
    ("an order without its items", lambda redis: redis.hdel("order:o4", "order"), {"unexpected": ["o4"]}),
    (
        "the count set back",
        lambda redis: redis.set("orders.processed.count", 3),
        {"unexpected": ["o4"]},
    ),
    (
        "the count set back before a created order",
        lambda redis: redis.set("orders.processed.count", 2),
        {"duplicated": ["cable"], "unexpected": ["o4"]},
    ),
]


async def _each(*commands: Awaitable[object]) -> None:
    for command in commands:
        await command


async def _replaced(redis: Any, key: str, value: str) -> None:
    await redis.delete(key)
    await redis.set(key, value)


@pytest.mark.parametrize(("bug", "tamper", "found"), TAMPERED, ids=[bug for bug, _, _ in TAMPERED])
async def test_tampering_is_found(
    shop: Shop, bug: str, tamper: Tampering, found: dict[str, list[str]]
) -> None:
    """Whatever a bug could have written, and the oracle has to find."""
    await tamper(shop.redis)
    assert await shop.faults() == found, bug


@pytest.mark.parametrize("key", ["stock.reserved", "stock.supplied", "orders.archive"])
async def test_books_that_are_no_numbers_cannot_be_compared(shop: Shop, key: str) -> None:
    """Where somebody has written into what only scripts write, the error names the place."""
    await shop.redis.hset(key, "sku:cable", "many")
    with pytest.raises(OrderctlError, match=f"{key} holds 'many'"):
        await shop.verify()


async def test_a_ledger_finds_what_the_store_has_forgotten_altogether(shop: Shop) -> None:
    """An acknowledged order of which nothing is left is lost, and nobody but its client knows."""
    for key in ("idemp:o5", "order:o5"):
        await shop.redis.delete(key)
    assert await shop.faults(promised(*orders(5))) == {"lost": ["o5"]}


async def test_a_ledger_finds_other_items(shop: Shop) -> None:
    """An order is lost as well if another one stands under its id."""
    asked = promised(an_order("o4", cable=2, plug=1))
    assert await shop.faults(asked) == {"lost": ["o4"]}


async def test_a_record_that_is_in_no_index_is_found_by_its_client(shop: Shop) -> None:
    """The ledger's orders are looked for by id where no index names them."""
    await shop.redis.zrem("orders:rejected", "o4")
    assert await shop.faults() == {"lost": ["decision 4"]}
    assert await shop.faults(promised(*orders(4))) == {}


async def test_a_ledger_older_than_the_retention_misses_nothing(shop: Shop, tmp_path: Path) -> None:
    """Orders that may have been removed are not asked for, nor those that had to leave before their time."""
    path = tmp_path / "ledger.jsonl"
    with LedgerWriter(path) as ledger:
        ledger.attempted("young", (OrderItem(sku="cable", qty=2),))
        ledger.acknowledged("young")
    with path.open("a", encoding="utf-8") as stream:
        for name, age in (("early", 1_800.0), ("old", 7_200.0)):
            old = {"event": "acknowledged", "id": name, "at": time.time() - age}
            stream.write(json.dumps(old) + "\n")
    promises = read_promises(path)
    assert promises.contents == {"young": (OrderItem(sku="cable", qty=2),)}
    outcome = await shop.verify(promises)
    assert (outcome.verdict.faults(), outcome.promises.expired) == ({"lost": ["early", "young"]}, 1)
    await shop.redis.zadd(keyspace.KEPT, {keyspace.REMOVED_UNTIL: (time.time() - 1_800) * 1_000_000})
    outcome = await shop.verify(promises)
    assert (outcome.verdict.faults(), outcome.promises.expired) == ({"lost": ["young"]}, 2)


async def test_what_the_sweep_removes_is_not_missed(shop: Shop) -> None:
    """However short its retention, and whatever the verification's own settings say."""
    await brought_to_their_end(shop)
    assert await shop.sweep(retention_seconds=0.0).sweep_once() == 4
    names = {order.id for order in orders(4)}
    lost = Promises(acknowledged=names, times=dict.fromkeys(names, time.time()))
    assert (await shop.verify(lost)).verdict.faults() == {}
    later = Promises(acknowledged=names, times=dict.fromkeys(names, time.time() + 120))
    assert (await shop.verify(later)).verdict.faults() == {"lost": sorted(names)}


async def test_how_long_orders_are_kept_is_the_processors_word(shop: Shop) -> None:
    """It says so before each sweep, also where another one holds the lease."""
    running = asyncio.create_task(shop.sweep(retention_seconds=86_400.0).run())
    snapshots = SnapshotReader(shop.redis, timeout_seconds=SECONDS)

    async def is_said() -> bool:
        return (await snapshots.kept()).seconds == 86_400.0

    await wait_until(is_said)
    running.cancel()


async def test_a_ledger_finds_another_price_than_was_promised(shop: Shop, tmp_path: Path) -> None:
    """What the client was told is held against the record; an answer without prices promises none."""
    await price(shop.redis, "cable", 1999)
    await shop.complete(an_order("p1", cable=1), an_order("p2", cable=1))
    path = tmp_path / "ledger.jsonl"
    with LedgerWriter(path) as ledger:
        for order_id, amount in (("p1", 1999), ("p2", 1998)):
            ledger.attempted(order_id, (OrderItem(sku="cable", qty=1),))
            ledger.acknowledged(order_id, {"id": order_id, "currency": "EUR", "amount_total": amount})
        ledger.acknowledged("o1", {"id": "o1"})
    promises = read_promises(path)
    assert promises.costs.keys() == {"p1", "p2"}
    outcome = await shop.verify(promises)
    assert outcome.verdict.faults() == {"mispriced": ["p2"]}
    assert "told 19.98 EUR, recorded is 19.99 EUR" in outcome.verdict.why["p2"]


def test_every_kind_of_fault_is_planted() -> None:
    """A kind that no tampering brings about proves nothing. Its own tests plant what the ledger lacks."""
    elsewhere = {"stuck", "unrecorded", "mischarged"}
    assert {kind for _, _, found in TAMPERED for kind in found} | elsewhere == set(FAULTS)
