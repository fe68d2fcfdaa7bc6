"""The oracle on orders that were moved and cancelled: one planted bug each, and nothing else with it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from orderctl.oracle import Evidence, OrderState, StockState, judge
from shared.orders.model import OrderStatus
from shared.orders.moves import ANNOUNCED, steps_to, told_steps
from tests.harness.examples import an_order

CREATED, CANCELLED = OrderStatus.CREATED, OrderStatus.CANCELLED
SHIPPED, DELIVERED = OrderStatus.SHIPPED, OrderStatus.DELIVERED


def state(number: int, status: OrderStatus, **changes: object) -> OrderState:
    """Order ``o{number}`` of two cables, created as the ``number``-th, as it should be."""
    made = OrderState(
        order=an_order(f"o{number}", cable=2), status=status, outcome=CREATED, sequence=number, listed=status
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # fields of a test's own


STATES = (
    state(1, DELIVERED),
    state(2, CANCELLED, released=1),
    state(3, SHIPPED),
    state(4, CANCELLED, outcome=None, sequence=None),
)


def evidence(
    states: Sequence[OrderState] = STATES,
    *,
    reserved: int = 4,
    events: Mapping[str, bool] | None = None,
    told: Mapping[str, int] | None = None,
) -> Evidence:
    """One of each, announced and told as it should be but for ``events`` and ``told``, by event id."""
    published = {f"{each.order.id}:{ANNOUNCED[step]}": True for each in STATES for step in _steps(each)}
    letters = {
        f"{each.order.id}:{ANNOUNCED[step]}": 1
        for each in STATES
        for step in told_steps(each.status, each.outcome)
    }
    return Evidence(
        stock=StockState(
            decided=3,
            releases=1,
            available={"cable": 10 - reserved},
            reserved={"cable": reserved},
            supplied={"cable": 10},
        ),
        orders=states,
        events=[event for event, was in (published | dict(events or {})).items() if was],
        notified={"smtp": {event: times for event, times in (letters | dict(told or {})).items() if times}},
        is_whole=True,
    )


def _steps(each: OrderState) -> Sequence[OrderStatus]:
    return steps_to(each.status, each.outcome)


def with_order(changed: OrderState) -> Sequence[OrderState]:
    """The orders with another state of one of them."""
    return [changed if each.order.id == changed.order.id else each for each in STATES]


def test_moved_orders_pass() -> None:
    """One that was cancelled before its decision needs none."""
    verdict = judge(evidence())
    assert verdict.why == {}
    assert (verdict.orders, verdict.created, verdict.cancelled, verdict.told) == (4, 3, 2, 4)


def test_who_heard_of_a_later_step_alone_was_told() -> None:
    """And it may be that an order was being prepared when it was cancelled."""
    told = {"o1:order.created.v1": 0, "o1:order.shipped.v1": 0, "o2:order.created.v1": 0}
    verdict = judge(evidence(told=told, events={"o2:order.processing.v1": True}))
    assert verdict.why == {}


PLANTED: Sequence[tuple[str, Callable[[], Evidence], dict[str, list[str]]]] = [
    ("stock given back twice", lambda: evidence(reserved=2), {"oversold": ["cable"]}),
    (
        "stock never given back",
        lambda: evidence(with_order(state(2, CANCELLED)), reserved=6),
        {"unexpected": ["o2"]},
    ),
    ("stock noted as given back, and kept", lambda: evidence(reserved=6), {"duplicated": ["cable"]}),
    (
        "stock given back for an order that went on",
        lambda: evidence(with_order(state(3, SHIPPED, released=1)), reserved=2),
        {"unexpected": ["o3"]},
    ),
    (
        "a move without an announcement",
        lambda: evidence(events={"o1:order.processing.v1": False}),
        {"unannounced": ["o1"]},
    ),
    (
        "a move whose announcement still waits",
        lambda: evidence(with_order(state(3, SHIPPED, unpublished=True))),
        {"unannounced": ["o3"]},
    ),
    (
        "a move that nobody heard of",
        lambda: evidence(told={"o3:order.shipped.v1": 0}),
        {"unannounced": ["o3"]},
    ),
    (
        "created and cancelled",
        lambda: evidence(events={"o4:order.created.v1": True}, told={"o4:order.created.v1": 1}),
        {"unexpected": ["o4"]},
    ),
    (
        "cancelled, and created all the same",
        lambda: evidence(with_order(state(2, CREATED)), reserved=6),
        {"unexpected": ["o2"]},
    ),
    ("told twice", lambda: evidence(told={"o2:order.cancelled.v1": 2}), {"duplicated": ["o2"]}),
    (
        "told of what did not happen",
        lambda: evidence(told={"o3:order.delivered.v1": 1}),
        {"unexpected": ["o3"]},
    ),
]


@pytest.mark.parametrize(("bug", "planted", "found"), PLANTED, ids=[bug for bug, _, _ in PLANTED])
def test_a_planted_bug_of_moves_is_found(
    bug: str, planted: Callable[[], Evidence], found: dict[str, list[str]]
) -> None:
    """With its offender and the reason."""
    verdict = judge(planted())
    assert verdict.faults() == found, verdict.why
    assert all(verdict.why[offender] for offenders in found.values() for offender in offenders), bug
