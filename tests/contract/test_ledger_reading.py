"""What is read from the ledger is what was written: lists, notifications and sums, on both databases."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ledger.reading import LedgerReader, NoteCursor
from ledger.store import Batch, LedgerStore
from ledger.sums import SOLD
from shared.history.ownership import VisibleOrders
from shared.keyspace import NotificationStatus
from shared.messages import epoch_microseconds, event_time
from shared.orders.model import OrderStatus, Trouble
from shared.orders.ports import Cursor, OrderFilter
from shared.orders.records import OrderRecord, TimelineStep
from shared.orders.redis.log import LogEntry
from shared.sql.database import Database, open_database
from shared.sql.migrations import migrations_of
from tests.harness.ledger import AT, a_record, keep

SECONDS = 30.0
DAY = 86_400_000_000


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A ledger's database, with its tables."""
    async with open_database(database_url, migrations_of("ledger"), timeout_seconds=SECONDS) as opened:
        await opened.look()
        assert opened.unready_reason() is None
        yield opened


def any_orders(count: int) -> Sequence[OrderRecord]:
    """Of a few customers and instants, so that many share one."""
    dice = random.Random(7)
    found = []
    for number in range(count):
        status = dice.choice(list(OrderStatus))
        is_accepted = status is OrderStatus.ACCEPTED
        found.append(
            a_record(
                f"o{number}",
                status=status,
                at=AT + dice.randrange(30),
                customer=dice.choice([None, "alice", "bob"]),
                trouble=dice.choice([None, *Trouble]) if is_accepted else None,
                amounts=dice.choice([None, {"cable": 3}, {"cable": 3, "case": 7}]),
                items=dice.choice([{"cable": 2}, {"cable": 1, "case": 4}]),
            )
        )
    return found


def place(record: OrderRecord) -> tuple[int, str]:
    """Where a list has it."""
    return record.accepted_at_microseconds, record.order.id


FILTERS = [
    OrderFilter(),
    OrderFilter(status=OrderStatus.CREATED),
    OrderFilter(status=OrderStatus.CREATED, unowned=True),
    OrderFilter(unowned=True),
    OrderFilter(customer="alice"),
    OrderFilter(customer="bob", status=OrderStatus.CANCELLED),
    OrderFilter(trouble=Trouble.DEAD),
    OrderFilter(trouble=Trouble.RETRYING, customer="alice"),
    OrderFilter(since=AT + 5, until=AT + 12),
    OrderFilter(status=OrderStatus.SHIPPED, since=AT + 5, until=AT + 25),
    OrderFilter(customer="nobody"),
]


async def test_pages_of_every_kind_show_each_order_once_newest_first(database: Database) -> None:
    """With its lines and prices, whatever is asked for; ids tell apart what came in one microsecond."""
    records = any_orders(150)
    await keep(LedgerStore(database), *records)
    reader = LedgerReader(database)
    for wanted in FILTERS:
        shown: list[OrderRecord] = []
        cursor: Cursor | None = None
        while page := await reader.orders(wanted, 7, cursor):
            shown += page
            cursor = Cursor(accepted_at=place(page[-1])[0], order_id=page[-1].order.id)
        expected = sorted(filter(wanted.admits, records), key=place, reverse=True)
        assert list(map(place, shown)) == list(map(place, expected)), wanted
        for found, written in zip(shown, expected, strict=True):
            assert (found.order.items, found.prices) == (written.order.items, written.prices)
            assert (found.status, found.trouble) == (written.status, written.trouble)


async def test_sums_are_those_of_the_rows_whatever_is_written_again(database: Database) -> None:
    """Orders move, come again and are decided by an entry; what is cancelled brings nothing any more."""
    store, reader = LedgerStore(database), LedgerReader(database)
    dice = random.Random(3)
    today = epoch_microseconds(datetime.now(UTC)) // DAY * DAY
    known: dict[str, OrderRecord] = {}
    for _ in range(12):
        records = [
            a_record(
                f"o{number}",
                status=dice.choice(list(OrderStatus)),
                at=known[f"o{number}"].accepted_at_microseconds
                if f"o{number}" in known
                else today - dice.randrange(60) * DAY + dice.randrange(DAY),
                amounts=dice.choice([None, {"cable": 3, "case": 7}]),
                items=dice.choice([{"cable": 2}, {"cable": 1, "case": 4}]),
            )
            for number in dice.sample(range(60), 10)
        ]
        await keep(store, *records)
        known |= {record.order.id: record for record in records}
    undecided = [each for each in known.values() if each.status is OrderStatus.ACCEPTED]
    assert undecided
    entries = [
        LogEntry(
            id="1-1", order_id=each.order.id, n=2, type=OrderStatus.CREATED, at=AT, reason="", by="processor"
        )
        for each in undecided
    ]
    position = await store.position()
    assert await store.write(Batch(steps=entries, decisions=entries), since=position, until=position)
    statuses = {each.order.id: each.status for each in known.values()}
    statuses |= {each.order.id: OrderStatus.CREATED for each in undecided}
    found = await reader.statistics(30)
    assert {**found.orders} == Counter(statuses.values())
    sold = [each for each in known.values() if statuses[each.order.id] in SOLD]
    totals = [each.prices.amount_total or 0 for each in sold if each.prices]
    assert {**found.revenue} == {"EUR": sum(totals)}
    pieces: Counter[str] = Counter()
    for each in sold:
        pieces.update({item.sku: item.qty for item in each.order.items})
    assert [(best.sku, best.qty) for best in found.best_sellers] == pieces.most_common()
    first = (datetime.now(UTC) - timedelta(days=29)).date()
    days = {each.order.id: each.accepted_at.date() for each in known.values()}
    assert [day.day for day in found.days] == sorted(
        {day for day in days.values() if day >= first}, reverse=True
    )
    for day in found.days:
        of_day = {order_id for order_id, at in days.items() if at == day.day}
        assert {**day.orders} == Counter(statuses[order_id] for order_id in of_day)
        earned = sum(
            each.prices.amount_total or 0 for each in sold if each.prices and each.order.id in of_day
        )
        assert day.revenue.get("EUR", 0) == earned


async def test_what_customers_were_told_is_listed_newest_first(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With event, channel and state; of the orders that may be seen, or of one."""
    monkeypatch.setattr("ledger.reading.MOST_LOOKED_AT", 5)
    told = ("notified", "order.created.v1 log")
    failed = ("notification_failed", "order.shipped.v1 smtp")
    unknown = ("notified", "order.cancelled.v1 smtp unconfirmed")
    records = [
        a_record(
            f"o{number:02}",
            at=AT + 10 * number,
            customer=("alice", None)[number % 2],
            steps=(("accepted", ""), told, failed, unknown),
        )
        for number in range(12)
    ]
    await keep(LedgerStore(database), *records)
    reader = LedgerReader(database)

    async def listed(visible: VisibleOrders, order_id: str | None = None) -> Sequence[tuple[str, str]]:
        shown: list[tuple[str, str]] = []
        after: NoteCursor | None = None
        while True:
            found, after = await reader.told(visible, order_id, 4, after)
            shown += [(view.order_id, view.event) for _, view in found]
            if after is None:
                return shown

    events = ["order.cancelled.v1", "order.shipped.v1", "order.created.v1"]
    newest = [(f"o{number:02}", event) for number in range(11, -1, -1) for event in events]
    assert await listed(VisibleOrders()) == newest
    assert await listed(VisibleOrders(customer="alice")) == [x for x in newest if int(x[0][1:]) % 2 == 0]
    assert await listed(VisibleOrders(unowned=True)) == [x for x in newest if int(x[0][1:]) % 2]
    assert await listed(VisibleOrders(), "o03") == [("o03", event) for event in events]
    assert await listed(VisibleOrders(customer="bob"), "o02") == []
    assert await listed(VisibleOrders(customer="alice"), "o03") == []
    found, _ = await reader.told(VisibleOrders(), "o02", 4, None)
    assert [(view.channel, view.status, view.unconfirmed) for _, view in found] == [
        ("smtp", NotificationStatus.SENT, True),
        ("smtp", NotificationStatus.FAILED, False),
        ("log", NotificationStatus.SENT, False),
    ]
    assert (found[0][1].customer, found[0][1].at) == ("alice", event_time(AT + 23))


async def test_steps_are_read_page_by_page_as_they_happened(database: Database) -> None:
    """Those of the types and the time that are asked for, each once, also where many share an instant."""
    steps = (("accepted", ""), ("created", ""), ("notified", ""), ("shipped", ""))
    await keep(LedgerStore(database), *(a_record(f"o{n}", at=AT + n // 3, steps=steps) for n in range(9)))
    wanted = sorted(
        (AT + n // 3 + place, f"o{n}", place + 1)
        for n in range(9)
        for place in (0, 1, 3)
        if AT + 1 <= AT + n // 3 + place < AT + 4
    )
    found: list[NoteCursor] = []
    after: NoteCursor = (AT + 1, "", 0)
    reader = LedgerReader(database)
    while page := await reader.steps({"accepted", "created", "shipped"}, after, AT + 4, 4):
        after = page[-1][0]
        found += [place for place, _ in page]
        assert {steps[n - 1][0] for (_, _, n), _ in page} == {step for _, step in page}
    assert found == wanted


async def test_nothing_that_names_a_person_gets_into_the_ledger(database: Database) -> None:
    """So there is nothing to erase: no address, and no words in which somebody said why; ids stay."""
    store, said = LedgerStore(database), "for Ann, who is ill"
    steps = [
        ("retrying", "550 <ann@example.com> is unknown", "order_processor"),
        (OrderStatus.CANCELLED, said, "some-customer"),
    ]
    record = a_record("a", customer="some-customer", items={"cable": 1})
    record = replace(
        record,
        order=replace(record.order, email="ann@example.com"),
        reason="no ann@example.com",
        timeline=[
            TimelineStep(step=step, at=event_time(AT), reason=reason, attempts=None, by=by)
            for step, reason, by in steps
        ],
    )
    entries = [
        LogEntry(id="1-1", order_id="b", n=n, type=step, at=AT, reason=reason, by=by)
        for n, (step, reason, by) in enumerate(steps, start=1)
    ]
    told = LogEntry(id="1-2", order_id="a", n=3, type=OrderStatus.CREATED, at=AT, reason="an@d.c", by="")
    position = await store.position()
    assert await store.write(
        Batch(records=[record], steps=entries, decisions=[told]), since=position, until=position
    )
    written = repr(await store.written(["a", "b"]))
    assert "some-customer" in written
    assert "@example" not in written
    assert "an@d" not in written
    assert said not in written
    (_, _, rows) = await store.written(["a"])
    assert [row["reason"] for row in rows] == ["550 <…@…> is unknown", ""]


async def test_an_order_has_its_steps(database: Database) -> None:
    """In their order, with what can be said of each."""
    record = a_record("a", steps=(("accepted", ""), ("retrying", "broken_stock"), ("created", "")))
    await keep(LedgerStore(database), record, a_record("b"))
    found = await LedgerReader(database).order("a")
    assert found is not None
    assert found.timeline == record.timeline
    assert await LedgerReader(database).order("c") is None
