"""The ledger has every step of every order once, whatever dies, is trimmed, lost or restored meanwhile.

On SQLite and PostgreSQL, over the real scripts in a store in this process.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import Table, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.reading import LedgerReader
from ledger.schema import DAYS, ORDERS, REVENUE, SALES
from ledger.store import Batch
from orderctl.oracle import Verdict
from orderctl.verification.ledger import LedgerAudit
from orderctl.verification.verification import Patience
from shared import keyspace
from shared.errors import StoreUnavailable
from shared.history.earlier import earlier_id, is_order_id
from shared.messages import content_fingerprint
from shared.messaging.retry import Bury, History
from shared.orders.model import OrderStatus, Trouble
from shared.orders.ports import LetterStep, OrderFilter
from shared.orders.redis.dead_letters import RedisOrderBooks
from shared.orders.redis.log import LogEntry, OrderLog
from shared.redis.client import Redis
from shared.sql.database import Database, open_database
from shared.sql.migrations import migrations_of
from tests.harness.decisions import store_recreating
from tests.harness.examples import TRACE, an_order, placed
from tests.harness.gateway import a_placement, order_store
from tests.harness.ledger import A_CENTURY, SECONDS, Trial
from tests.harness.pricing import price
from tests.harness.spans import keeping_spans
from tests.harness.stores import store_in_process


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    """An empty store."""
    async with store_in_process() as client:
        yield client


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A ledger's database, with its tables."""
    async with open_database(database_url, migrations_of("ledger"), timeout_seconds=SECONDS) as opened:
        await opened.look()
        assert opened.unready_reason() is None
        yield opened


@pytest.fixture
def trial(redis: Redis, database: Database) -> Trial:
    """On an empty store and an empty ledger."""
    return Trial(redis, database)


async def test_each_step_that_is_written_is_seen_in_its_order_s_trace(
    redis: Redis, database: Database
) -> None:
    """By the record's trace with the first step; remembered for those that the log alone tells of."""
    order, other = an_order("a", cable=1), an_order("b", cable=1)
    with keeping_spans() as kept:
        trial = Trial(redis, database)
        await trial.follower.follow()
        await trial.accept(order, other)
        await trial.follower.follow()
        await trial.decide(order)
        await trial.follower.follow()
    written = kept.named("ledger write")
    assert [span.attributes["order.id"] for span in written] == ["a", "b", "a"]
    assert {f"00-{span.trace_id}-{span.parent_id}-01" for span in written} == {TRACE.traceparent}
    (batch,) = kept.named("ledger batch")
    assert batch.links == [span.traceparent for span in written[:2]]
    parents = {span.parent_id for span in kept.named("sql transaction")}
    assert parents == {batch.span_id, written[2].span_id}


async def test_what_was_before_the_ledger_is_read_from_the_records(trial: Trial) -> None:
    """An upgrade finds orders that no log tells of."""
    orders = [an_order(f"o{n}", cable=1) for n in range(7)]
    await trial.accept(*orders)
    await trial.decide(*orders[:3])
    await trial.redis.delete(keyspace.LOG)
    await trial.follower.follow()
    assert await trial.is_true()
    assert (await trial.store.counts())[0] == 7
    assert trial.heals("first") == 1


async def test_steps_are_followed_as_they_happen(trial: Trial) -> None:
    """In one batch or in several, with prices, and without a look at the records of orders that are known."""
    await trial.follower.follow()
    order, other = an_order("a", cable=2, case=1), an_order("b", cable=1)
    await price(trial.redis, "cable", 150)
    await price(trial.redis, "case", 1999)
    await trial.redis.set("inventory:cable", 10)
    await trial.redis.set("inventory:case", 10)
    await trial.accept(order, other)
    await trial.follower.follow()
    assert await trial.is_true()
    await trial.decide(order)
    await trial.follower.follow()
    await trial.decide(other)
    await trial.follower.follow()
    assert await trial.is_true()
    ((kept,), lines, steps) = await trial.store.written(["a"])
    assert (kept["status"], kept["amount_total"], kept["currency"]) == ("created", 2299, "EUR")
    assert [(line["sku"], line["qty"], line["unit_amount"]) for line in lines] == [
        ("cable", 2, 150),
        ("case", 1, 1999),
    ]
    assert [(step["n"], step["type"]) for step in steps] == [(1, "accepted"), (2, "created")]
    assert trial.heals("lost") == 0


async def test_a_death_between_commit_and_confirm_changes_nothing(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one goes on from what is written, and confirms it."""
    await trial.follower.follow()
    await trial.accept(an_order("a", cable=1))

    async def dies(*_: object) -> None:
        raise StoreUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(OrderLog, "confirm", dies)
        with pytest.raises(StoreUnavailable):
            await trial.follower.follow()
    await trial.decide(an_order("a", cable=1))
    await trial.another().follow_once()
    assert await trial.is_true()
    end = await OrderLog(trial.redis, timeout_seconds=SECONDS).end()
    assert await trial.redis.get(keyspace.LEDGER_POSITION) == end.log_id


async def test_an_entry_that_came_twice_is_one_step(trial: Trial) -> None:
    """A script that was cut enters its last steps again."""
    await trial.follower.follow()
    await trial.accept(an_order("a", cable=1))
    await trial.follower.follow()
    await trial.decide(an_order("a", cable=1))
    for _, entry in await trial.redis.xrange(keyspace.LOG):
        await trial.redis.xadd(keyspace.LOG, entry)
    await trial.follower.follow()
    for _, entry in await trial.redis.xrange(keyspace.LOG):
        await trial.redis.xadd(keyspace.LOG, entry)
    await trial.follower.follow()
    assert await trial.is_true()


async def test_trouble_that_ended_without_a_step_is_over_in_the_ledger_too(trial: Trial) -> None:
    """A dead order that was sent back: its last step comes into the log once more, and its record is read."""
    await trial.follower.follow()
    order = an_order("a", cable=1)
    await trial.accept(order)
    history = History(attempts=3, reason="broken_stock")
    await store_recreating(trial.redis, A_CENTURY).buried(placed(order), Bury(history=history))
    books = RedisOrderBooks(trial.redis, timeout_seconds=SECONDS)
    noted = await books.note(
        [
            LetterStep(
                order_id="a",
                fingerprint=content_fingerprint(order),
                step="redriven",
                reason="broken_stock",
                attempts=3,
                unless_decided=True,
            )
        ]
    )
    await trial.follower.follow()
    assert [row["trouble"] for row in (await trial.store.written(["a"]))[0]] == [Trouble.DEAD]
    await books.revive(noted)
    await trial.follower.follow()
    assert [row["trouble"] for row in (await trial.store.written(["a"]))[0]] == [Trouble.RETRYING]
    assert await trial.is_true()


async def test_a_step_whose_entry_is_missing_comes_from_the_record(trial: Trial) -> None:
    """The next entry of the order leaves a gap, which tells."""
    await trial.follower.follow()
    await trial.accept(an_order("a", cable=1))
    await trial.follower.follow()
    await trial.decide(an_order("a", cable=1))
    ((last, _),) = await trial.redis.xrevrange(keyspace.LOG, count=1)
    await trial.redis.xdel(keyspace.LOG, last)
    await trial.follower.follow()
    timeline = await trial.redis.hget("order:a", "timeline")
    await trial.redis.hset("order:a", "timeline", f"{timeline}\n7\tnotified\tcreated log\t\tnotifier")
    entry = {"o": "a", "n": 3, "t": "notified", "at": 7, "reason": "created log", "by": "notifier"}
    await trial.redis.xadd(keyspace.LOG, entry)
    await trial.follower.follow()
    assert await trial.is_true()


async def test_a_log_that_was_trimmed_past_the_ledger_is_made_up_for(trial: Trial) -> None:
    """From the records, and it is counted: the loss is never silent."""
    await trial.follower.follow()
    orders = [an_order(f"o{n}", cable=1) for n in range(5)]
    await trial.accept(orders[0])
    await trial.follower.follow()
    await trial.accept(*orders[1:])
    await trial.decide(*orders)
    await trial.trim_to_the_last()
    await trial.follower.follow()
    assert await trial.is_true()
    assert (await trial.store.counts()) == (5, 10)
    assert trial.heals("lost") == 1


async def test_a_store_that_was_set_back_is_agreed_with(trial: Trial) -> None:
    """An older copy has other steps under the same numbers; what it does not know any more stays here."""
    await trial.follower.follow()
    first, lost = an_order("first", cable=1), an_order("lost", cable=1)
    await trial.accept(first)
    await trial.follower.follow()
    copy = {key: await trial.redis.dump(key) for key in await trial.redis.keys("*")}
    await trial.accept(lost)
    await trial.decide(first)  # rejected: there is no stock
    await trial.follower.follow()
    await trial.redis.flushall()
    for key, value in copy.items():
        await trial.redis.restore(key, 0, value)
    await trial.redis.set("inventory:cable", 5)
    await trial.decide(first)
    await trial.follower.follow()
    assert await trial.is_true()
    ((kept,), _, _) = await trial.store.written(["first"])
    assert kept["status"] == "created"
    assert len((await trial.store.written(["lost"]))[0]) == 1
    assert trial.heals("lost") == 1


async def test_a_store_that_was_flushed_begins_anew(trial: Trial) -> None:
    """Years stay, also of an order whose id another one takes."""
    await trial.follower.follow()
    await trial.accept(an_order("a", cable=1), an_order("old", cable=1))
    await trial.decide(an_order("a", cable=1))
    await trial.follower.follow()
    await trial.redis.flushall()
    await trial.follower.follow()
    await trial.accept(an_order("a", case=2))
    await trial.follower.follow()
    assert await trial.is_true()
    assert (await trial.store.counts())[0] == 3
    assert trial.heals("lost") == 1


async def test_an_id_that_is_used_again_takes_nothing_from_the_order_that_had_it(
    trial: Trial, database: Database
) -> None:
    """Bob orders under the id of Ann, whose order was swept: hers keeps steps, place and its part in sums."""
    gateway, reader = order_store(trial.redis), LedgerReader(database)
    await trial.follower.follow()
    await gateway.accept(a_placement(an_order("a", cable=2), customer="ann"))
    await trial.follower.follow()
    hers = await reader.order("a")
    assert hers is not None
    for _ in range(2):  # and a third one takes it from him, in a life of the store that was set back
        await trial.redis.delete("order:a", "idemp:a", *(keyspace.orders_in(each) for each in OrderStatus))
        await gateway.accept(a_placement(an_order("a", cable=5), customer="bob"))
        await trial.follower.follow()
        assert await trial.is_true()
    kept = await reader.order(earlier_id("a", hers.accepted_at_microseconds))
    assert kept is not None
    assert (kept.customer, kept.timeline, kept.order.items) == ("ann", hers.timeline, hers.order.items)
    assert is_order_id(kept.order.id)
    (listed,) = await reader.orders(OrderFilter(customer="ann"), 10, None)
    assert listed.order.id == kept.order.id
    assert len(await reader.orders(OrderFilter(customer="bob"), 10, None)) == 2
    assert (await reader.statistics(30)).orders == {OrderStatus.ACCEPTED: 3}
    assert await trial.store.counts() == (3, 3)


async def test_it_can_be_built_anew_while_orders_flow(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens between the pages of the records is in the log."""
    monkeypatch.setattr("shared.orders.following.ORDERS_AT_ONCE", 2)
    orders = [an_order(f"o{n}", cable=1) for n in range(9)]
    await trial.accept(*orders[:6])
    await trial.follower.follow()
    await trial.store.forget_position()
    written, pages = trial.store.write, []

    async def write(*arguments: Any, **named: Any) -> bool:
        pages.append(named)
        if len(pages) == 3:
            await trial.accept(*orders[6:])
            await trial.decide(*orders[:4])
        return await written(*arguments, **named)

    monkeypatch.setattr(trial.store, "write", write)
    await trial.follower.follow()
    assert len(pages) > 3
    assert await trial.is_true()
    assert (await trial.store.counts()) == (9, 13)
    assert trial.heals("rebuild") == 1


async def test_a_follower_that_was_overtaken_writes_nothing(trial: Trial) -> None:
    """What one that stalled past its lease has read is older than what is written."""
    await trial.follower.follow()
    await trial.accept(an_order("a", cable=1))
    since = await trial.store.position()
    await trial.another().follow_once()
    counted = await trial.store.counts()
    page = await OrderLog(trial.redis, timeout_seconds=SECONDS).read(since, 10)
    assert page is not None
    assert not await trial.store.write(Batch(steps=page.entries), since=since, until=page.end)
    assert await trial.store.counts() == counted


async def test_it_says_how_far_behind_it_is(trial: Trial) -> None:
    """In entries and in seconds, for alerts."""
    await trial.follower.follow()
    await trial.accept(*(an_order(f"o{n}", cable=1) for n in range(3)))
    await trial.follower.measure_once()
    assert trial.registry.get_sample_value("ledger_entries_behind") == 3
    await trial.follower.follow()
    await trial.follower.measure_once()
    assert trial.registry.get_sample_value("ledger_entries_behind") == 0
    assert trial.registry.get_sample_value("ledger_seconds_behind") == 0


# --- verify -------------------------------------------------------------------------------------------------


async def audited(trial: Trial) -> Verdict:
    """What ``orderctl verify`` says of the ledger."""
    verdict = Verdict()
    patience = Patience(quiet=0.2, most=1.0, pause=0.01)
    await LedgerAudit(trial.redis, trial.store, timeout_seconds=SECONDS, patience=patience).run(verdict)
    return verdict


async def test_verify_says_that_a_ledger_is_yet_to_begin(trial: Trial) -> None:
    """What stands in the place of a position is no place in the log, and is not shown as one."""
    await trial.accept(an_order("a", cable=1))
    await trial.follower.follow()
    await trial.store.forget_position()
    assert (await audited(trial)).why["ledger"] == "it is yet to read the log, and does not go on"


async def test_verify_agrees_with_a_ledger_that_follows(trial: Trial) -> None:
    """Step by step and line by line."""
    order = an_order("a", cable=1)
    await price(trial.redis, "cable", 150)
    await trial.follower.follow()
    await trial.accept(order, an_order("b", cable=1))
    await trial.follower.follow()
    await trial.decide(order)
    await trial.follower.follow()
    verdict = await audited(trial)
    assert (verdict.why, verdict.in_sql) == ({}, 2)


async def test_verify_finds_a_follower_that_drops_an_entry(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted bug: one step of one order is passed over, and the position goes on."""
    order = an_order("a", cable=1)
    await trial.follower.follow()
    await trial.accept(order, an_order("b", cable=1))
    await trial.follower.follow()
    await trial.decide(order)
    with monkeypatch.context() as patch:
        patch.setattr("ledger.store.step_row", step_row_of_nobody)
        await trial.follower.follow()
    assert (await audited(trial)).faults() == {"unrecorded": ["a"]}


@pytest.mark.parametrize(
    ("table", "changes"),
    [(DAYS, {"orders": 7}), (REVENUE, {"amount": 1}), (SALES, {"qty": 9})],
    ids=lambda each: getattr(each, "name", ""),
)
async def test_verify_finds_a_sum_that_its_rows_do_not_come_to(
    trial: Trial, database: Database, table: Table, changes: dict[str, int]
) -> None:
    """A rebuild makes it right."""
    await price(trial.redis, "cable", 150)
    await trial.redis.set(keyspace.inventory("cable"), 10)
    await trial.accept(an_order("a", cable=1), an_order("b", cable=2))
    await trial.decide(an_order("a", cable=1), an_order("b", cable=2))
    await trial.follower.follow()
    assert (await audited(trial)).faults() == {}
    await database.transaction(lambda connection: connection.execute(update(table).values(**changes)))
    (wrong,) = (await audited(trial)).faults()["unrecorded"]
    assert wrong.startswith(f"statistics: {table.name} (")
    await trial.store.forget_position()
    await trial.follower.follow()
    assert (await audited(trial)).faults() == {}


async def test_verify_finds_other_money_and_a_ledger_that_stands_still(
    trial: Trial, database: Database
) -> None:
    """A total that was changed, and a follower that is gone."""
    await price(trial.redis, "cable", 150)
    await trial.follower.follow()
    await trial.accept(an_order("a", cable=1))
    await trial.follower.follow()

    async def write(connection: AsyncConnection) -> None:
        await connection.execute(update(ORDERS).values(amount_total=1))

    await database.transaction(write)
    assert (await audited(trial)).faults() == {"unrecorded": ["a"]}
    await trial.accept(an_order("b", cable=1))
    assert "ledger" in (await audited(trial)).faults()["unrecorded"]


def step_row_of_nobody(step: LogEntry) -> dict[str, Any]:
    """A row that belongs to no order of the trial, in the place of a step's."""
    return {"order_id": "nobody", "n": step.n, "type": step.type, "at": step.at, "reason": "", "by": ""}
