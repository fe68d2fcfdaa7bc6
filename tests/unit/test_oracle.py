"""The oracle is tested by planting one bug per promise: each must be found, and nothing else with it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from orderctl.money import PriceEvidence
from orderctl.oracle import Absent, Evidence, OrderState, Sighting, StockState, Unreadable, judge
from orderctl.sequences import Sequences
from shared.messages import OrderItem
from shared.orders.model import OUTCOMES, OrderStatus, Trouble
from shared.prices import Cost, Prices
from tests.harness.examples import an_order
from tests.harness.pricing import prices_of

CREATED, REJECTED, ACCEPTED = OrderStatus.CREATED, OrderStatus.REJECTED, OrderStatus.ACCEPTED


def told(outcome: OrderStatus, times: int = 1) -> dict[OrderStatus, int]:
    """How often a customer was told of an outcome."""
    return {CREATED: 0, REJECTED: 0} | {outcome: times}


def an_order_state(number: int, status: OrderStatus = CREATED, **changes: Any) -> OrderState:
    """Order ``o{number}`` of two cables, decided as the ``number``-th and told, as it should be."""
    state = OrderState(
        order=an_order(f"o{number}", cable=2),
        status=status,
        outcome=status if status in OUTCOMES else None,
        sequence=number,
        listed=status,
        told=told(status),
    )
    return replace(state, **changes)


def undecided(number: int, trouble: Trouble | None = None) -> OrderState:
    """An order that waits for its decision."""
    return an_order_state(number, ACCEPTED, trouble=trouble, sequence=None, told=told(CREATED, 0))


def healthy() -> Evidence:
    """Three orders, of which two took their stock; nothing is wrong."""
    return Evidence(
        stock=StockState(
            decided=3, available={"cable": 1}, reserved={"cable": 4}, supplied={"cable": 5}, archived={}
        ),
        attempted=("o1", "o2", "o3"),
        acknowledged=("o1", "o2", "o3"),
        contents={f"o{number}": (OrderItem(sku="cable", qty=2),) for number in (1, 2, 3)},
        orders=(an_order_state(1), an_order_state(2), an_order_state(3, REJECTED)),
        is_whole=True,
    )


def with_order(number: int, state: Sighting) -> Evidence:
    """The healthy evidence with another state of one order."""
    orders: list[Sighting] = list(healthy().orders)
    orders[number - 1] = state
    return replace(healthy(), orders=orders)


def with_stock(**changes: Any) -> Evidence:
    """The healthy evidence with other stock."""
    return replace(healthy(), stock=replace(healthy().stock, **changes))


def test_a_healthy_system_passes() -> None:
    """What is right is not complained about."""
    verdict = judge(healthy())
    assert verdict.passed
    assert verdict.why == {}
    assert (verdict.orders, verdict.created, verdict.rejected, verdict.told) == (3, 2, 1, 3)


PLANTED: Sequence[tuple[str, Callable[[], Evidence], dict[str, list[str]]]] = [
    (
        "an acknowledged order without a record",
        lambda: replace(healthy(), acknowledged=("o1", "o2", "o3", "o4"), attempted=()),
        {"lost": ["o4"]},
    ),
    (
        "an acknowledged order with other items than were asked for",
        lambda: replace(healthy(), contents={**healthy().contents, "o1": (OrderItem(sku="cable", qty=1),)}),
        {"lost": ["o1"]},
    ),
    (
        "a rejected order that its index names and that has no record",
        lambda: with_order(3, Absent(order_id="o3", listed=REJECTED)),
        {"lost": ["o3"]},
    ),
    (
        "a decision that no order has",
        lambda: replace(with_stock(decided=4), attempted=()),
        {"lost": ["decision 4"]},
    ),
    (
        "a decision that two orders have",
        lambda: with_order(3, an_order_state(3, REJECTED, sequence=2)),
        {"duplicated": ["o3"]},
    ),
    (
        "stock taken twice for an order",
        lambda: with_stock(reserved={"cable": 6}, available={"cable": -1 + 0}, supplied={"cable": 5}),
        {"duplicated": ["cable"], "oversold": ["cable"]},
    ),
    (
        "stock taken twice while there was enough",
        lambda: with_stock(reserved={"cable": 6}, supplied={"cable": 7}),
        {"duplicated": ["cable"]},
    ),
    (
        "an order created without taking its stock",
        lambda: with_stock(reserved={"cable": 2}, supplied={"cable": 3}),
        {"oversold": ["cable"]},
    ),
    (
        "stock below zero",
        lambda: with_stock(available={"cable": -1}, supplied={"cable": 3}),
        {"oversold": ["cable"]},
    ),
    (
        "an order created of a SKU that was never reserved",
        lambda: with_order(3, an_order_state(3, order=an_order("o3", plug=1))),
        {"lost": ["o3"], "oversold": ["plug"]},
    ),
    (
        "an order that nobody placed",
        lambda: replace(healthy(), attempted=("o1", "o2")),
        {"unexpected": ["o3"]},
    ),
    (
        "a decision that was not counted",
        lambda: with_order(3, an_order_state(3, REJECTED, sequence=None)),
        {"unexpected": ["o3"]},
    ),
    (
        "a record that cannot be read",
        lambda: with_order(3, Unreadable(order_id="o3", fault="no field 'order'", listed=REJECTED)),
        {"unexpected": ["o3"]},
    ),
    (
        "a status that was overwritten",
        lambda: with_order(3, an_order_state(3, REJECTED, listed=CREATED)),
        {"unexpected": ["o3"]},
    ),
    (
        "more decided orders than decisions",
        lambda: with_stock(archived_orders=1),
        {"unexpected": ["orders.processed.count"]},
    ),
    ("an order that nobody decides", lambda: with_undecided(None), {"stuck": ["o4"]}),
    ("an order that is retried for ever", lambda: with_undecided(Trouble.RETRYING), {"stuck": ["o4"]}),
    (
        "a customer who was never told",
        lambda: with_order(3, an_order_state(3, REJECTED, told=told(REJECTED, 0))),
        {"unannounced": ["o3"]},
    ),
    (
        "a customer who was told twice",
        lambda: with_order(3, an_order_state(3, REJECTED, told=told(REJECTED, 2))),
        {"duplicated": ["o3"]},
    ),
    (
        "a customer who was told the opposite",
        lambda: with_order(3, an_order_state(3, REJECTED, told=told(CREATED))),
        {"unexpected": ["o3"], "unannounced": ["o3"]},
    ),
    (
        "a customer who was told of both outcomes",
        lambda: with_order(3, an_order_state(3, REJECTED, told={CREATED: 1, REJECTED: 1})),
        {"unexpected": ["o3"], "duplicated": ["o3"]},
    ),
    (
        "a customer who was told before the decision",
        lambda: replace(
            with_undecided(None),
            orders=[*healthy().orders, replace(undecided(4), told=told(CREATED))],
        ),
        {"stuck": ["o4"], "unexpected": ["o4"]},
    ),
    (
        "an event that was never published",
        lambda: replace(healthy(), events={"o1:order.created.v1", "o3:order.rejected.v1"}),
        {"unannounced": ["o2"]},
    ),
    (
        "an event that says the opposite",
        lambda: replace(
            healthy(),
            events={
                "o1:order.created.v1",
                "o2:order.created.v1",
                "o3:order.rejected.v1",
                "o3:order.created.v1",
            },
        ),
        {"unexpected": ["o3"]},
    ),
]


def with_undecided(trouble: Trouble | None) -> Evidence:
    """The healthy evidence with a fourth order that is not decided."""
    return replace(healthy(), attempted=(), orders=[*healthy().orders, undecided(4, trouble)])


@pytest.mark.parametrize(("bug", "evidence", "found"), PLANTED, ids=[bug for bug, _, _ in PLANTED])
def test_a_planted_bug_is_found(
    bug: str, evidence: Callable[[], Evidence], found: dict[str, list[str]]
) -> None:
    """Each bug is named for what it is, with its offender and the reason, and nothing else is blamed."""
    verdict = judge(evidence())
    assert verdict.faults() == found, bug
    assert not verdict.passed
    assert all(verdict.why[offender] for offenders in found.values() for offender in offenders)


def test_dead_letters_are_remarked_on_and_are_no_fault() -> None:
    """An order or a notification that lies where an operator sees it is not lost."""
    undelivered = an_order_state(3, REJECTED, told=told(REJECTED, 0), undeliverable=True)
    orders = [*_states()[:2], undelivered, undecided(4, Trouble.DEAD)]
    verdict = judge(replace(healthy(), attempted=(), orders=orders))
    assert verdict.passed
    assert (verdict.dead, verdict.undelivered) == (["o4"], ["o3"])


@pytest.mark.parametrize("count", [0, 1], ids=["awaited", "settled"])
def test_an_unconfirmed_letter_is_remarked_on_and_is_no_fault(count: int) -> None:
    """Whether it arrived is not known, and everything is done that may be."""
    unconfirmed = an_order_state(3, REJECTED, told=told(REJECTED, count), unconfirmed=True)
    verdict = judge(replace(healthy(), attempted=(), orders=[*_states()[:2], unconfirmed]))
    assert verdict.passed
    assert verdict.unconfirmed == ["o3"]


def test_stock_that_was_changed_by_hand_is_remarked_on_and_is_no_fault() -> None:
    """An operator may SET the stock; a value that is no number is told of as well."""
    changed = judge(with_stock(available={"cable": 11}))
    broken = judge(with_stock(available={"cable": None}))
    assert changed.passed
    assert broken.passed
    assert changed.changed_by_hand == broken.changed_by_hand == ["cable"]
    assert "+10 by hand" in changed.why["cable"]


def test_what_was_decided_after_the_cut_is_left_out_of_the_sums() -> None:
    """Orders flow on while they are counted: a later decision's stock is not in what was read before."""
    later = an_order_state(4)
    verdict = judge(replace(healthy(), attempted=(), orders=[*healthy().orders, later]))
    assert verdict.faults() == {}
    assert verdict.created == 3


def test_archived_orders_account_for_their_decisions_and_their_stock() -> None:
    """Orders that were removed after their retention are neither lost nor unreserved."""
    evidence = with_stock(
        decided=5, reserved={"cable": 7}, archived={"cable": 3}, archived_orders=2, supplied={"cable": 8}
    )
    orders = [replace(state, sequence=number + 2) for number, state in enumerate(_states(), 1)]
    assert judge(replace(evidence, orders=orders)).faults() == {}


def test_a_lost_decision_is_found_among_archived_ones() -> None:
    """The archive explains no more decisions than it holds."""
    evidence = replace(with_stock(decided=5, archived_orders=1), attempted=())
    assert judge(evidence).faults() == {"lost": ["1 decisions"]}


def test_a_part_of_the_orders_says_nothing_of_missing_decisions() -> None:
    """A test that looks at its own orders only is not told that the others are lost."""
    evidence = replace(with_stock(decided=90), is_whole=False)
    assert judge(evidence).faults() == {}


def test_notifications_counted_at_the_receiving_end_are_believed() -> None:
    """Where the store is not asked who was told, the counts by event id are the evidence."""
    counted = {"o1:order.created.v1": 1, "o2:order.created.v1": 2}
    orders = [replace(state, told=None) for state in _states()]
    verdict = judge(replace(healthy(), orders=orders, notified={"log": counted}))
    assert verdict.faults() == {"duplicated": ["o2"], "unannounced": ["o3"]}


@pytest.mark.parametrize(
    ("channel", "times", "deaths", "kind"),
    [
        ("log", 11, 1, "repeated"),
        ("log", 12, 1, "duplicated"),
        ("log", 21, 2, "repeated"),
        ("smtp", 2, 1, "repeated"),
        ("smtp", 3, 1, "duplicated"),
        ("unheard-of", 3, 1, "duplicated"),
        ("log", 2, 0, "duplicated"),
    ],
)
def test_a_death_of_the_notifier_explains_as_much_as_its_channel_leaves_unmarked(
    channel: str, times: int, deaths: int, kind: str
) -> None:
    """A group of ten on the log, one letter by mail, and not one more; the other channel's is its own."""
    others = {"o1:order.created.v1": 1, "o3:order.rejected.v1": 1}
    orders = [replace(state, told=None) for state in _states()]
    notified = {"other": others, channel: {"o2:order.created.v1": times}}
    verdict = judge(replace(healthy(), orders=orders, notified=notified, notifier_deaths=deaths))
    assert verdict.of_kind(kind) == ["o2"]
    assert verdict.passed == (kind == "repeated")


def test_an_event_that_two_channels_told_of_is_a_repetition() -> None:
    """A customer who was written to and whose order stands in the log was told twice."""
    notified = {
        "log": {
            f"o{number}:order.{outcome}.v1": 1
            for number, outcome in enumerate(("created", "created", "rejected"), 1)
        }
    }
    notified["smtp"] = {"o2:order.created.v1": 1}
    orders = [replace(state, told=None) for state in _states()]
    verdict = judge(replace(healthy(), orders=orders, notified=notified))
    assert verdict.faults() == {"duplicated": ["o2"]}


def test_many_lost_decisions_are_counted_instead_of_named() -> None:
    """A store that lost everything gives a readable verdict."""
    verdict = judge(replace(with_stock(decided=5_000_000), attempted=()))
    assert verdict.faults() == {"lost": ["4999997 decisions"]}


def test_sequences_take_each_number_once() -> None:
    """Twice is refused, so is what cannot have been given out; what came after the cut is let by."""
    sequences = Sequences(9)
    assert [sequences.mark(number) for number in (1, 8, 9, 9, 1, 0, -3, 10, 10)] == [
        *(True, True, True),
        *(False, False, False, False),
        *(True, True),
    ]
    assert sequences.marked == 3
    assert list(sequences.unmarked()) == [2, 3, 4, 5, 6, 7]


def _states() -> list[OrderState]:
    return [state for state in healthy().orders if isinstance(state, OrderState)]


def test_a_dead_order_is_named_where_pieces_are_reserved_for_no_order() -> None:
    """Its stock was taken by a script of an older version that was cut: to be given back before a redrive."""
    evidence = with_stock(reserved={"cable": 6}, available={"cable": -1})
    verdict = judge(replace(evidence, attempted=(), orders=[*healthy().orders, undecided(4, Trouble.DEAD)]))
    assert verdict.duplicated == ["cable"]
    assert "o4" in verdict.why["cable"]


PRICES = prices_of(3998, 1999)


def priced(prices: Prices | None = PRICES, **said: Any) -> Evidence:
    """The healthy evidence with a priced order, and what was said of its prices."""
    evidence = with_order(1, an_order_state(1, prices=prices))
    return replace(evidence, prices=PriceEvidence(**said))


def test_prices_that_agree_are_no_fault_and_are_summed_up() -> None:
    """Of created orders; what was not looked at blames no order."""
    evidence = priced(
        promised={"o1": Cost(currency="EUR", amount_total=3998)},
        announced={"o1:order.placed.v1": PRICES, "o1:order.created.v1": PRICES, "o2:order.created.v1": None},
        letters={"o1:order.created.v1": {"39.98 EUR"}, "o2:order.created.v1": {""}},
    )
    verdict = judge(evidence)
    assert verdict.faults() == {}
    assert verdict.amounts == {"EUR": 3998}
    rejected = with_order(3, an_order_state(3, REJECTED, prices=PRICES))
    assert judge(rejected).amounts == {}


@pytest.mark.parametrize(
    ("evidence", "why"),
    [
        (priced(prices_of(1999, 1999)), "its lines come to 39.98 EUR, its total is 19.99 EUR"),
        (priced(prices_of(None, 1999)), "its lines come to 39.98 EUR, its total is no total"),
        (priced(prices_of(1999, None)), "its lines come to no total"),
        (priced(promised={"o1": Cost(currency="EUR", amount_total=3997)}), "its client was told 39.97 EUR"),
        (priced(promised={"o1": Cost()}), "its client was told no total"),
        (priced(None, promised={"o1": Cost(currency="EUR", amount_total=1)}), "its client was told 0.01 EUR"),
        (priced(announced={"o1:order.created.v1": None}), "o1:order.created.v1 has no total"),
        (priced(announced={"o1:order.placed.v1": prices_of(3998, 1998)}), "or other lines"),
        (priced(letters={"o1:order.created.v1": {"39.98 EUR", ""}}), "its letter named no total"),
        (priced(letters={"o1:order.created.v1": {"39.97 EUR"}}), "its letter named 39.97 EUR"),
    ],
)
def test_prices_that_do_not_agree_are_found(evidence: Evidence, why: str) -> None:
    """Whoever was told something else than the record says, and a total that is not the sum of its lines."""
    verdict = judge(evidence)
    assert verdict.faults() == {"mispriced": ["o1"]}
    assert why in verdict.why["o1"]
