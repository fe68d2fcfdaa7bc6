"""Whatever a correct pipeline can do, the oracle passes; whatever is tampered with afterwards, it finds."""

from dataclasses import dataclass, replace

from hypothesis import assume, given, strategies as st

from orderctl.oracle import Evidence, OrderState, StockState, judge
from shared.orders.model import OrderStatus
from tests.harness.examples import an_order

CREATED, REJECTED = OrderStatus.CREATED, OrderStatus.REJECTED


@dataclass(frozen=True, slots=True)
class Run:
    """What became of a number of orders in a model of the pipeline, and when the cut was made."""

    quantities: list[int]
    supplied: int
    cut: int
    archived: int

    def evidence(self) -> Evidence:
        """The orders of the whole run, with the stock as it was after the first ``cut`` decisions."""
        left, reserved, archived = self.supplied, 0, 0
        available = self.supplied
        orders = []
        for number, qty in enumerate(self.quantities, 1):
            status = CREATED if qty <= left else REJECTED
            taken = qty if status is CREATED else 0
            left -= taken
            if number <= self.cut:
                reserved, available = reserved + taken, left
            if number <= self.archived:
                archived += taken
            else:
                orders.append(_state(number, qty, status))
        return Evidence(
            stock=StockState(
                decided=self.cut,
                available={"cable": available},
                reserved={"cable": reserved},
                supplied={"cable": self.supplied},
                archived={"cable": archived},
                archived_orders=self.archived,
            ),
            acknowledged=[state.order.id for state in orders],
            orders=orders,
            is_whole=True,
        )


def _state(number: int, qty: int, status: OrderStatus) -> OrderState:
    return OrderState(
        order=an_order(f"o{number}", cable=qty),
        status=status,
        outcome=status,
        sequence=number,
        listed=status,
        told={CREATED: 0, REJECTED: 0} | {status: 1},
    )


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """Any number of orders over any stock, cut anywhere; the oldest may have been archived before the cut."""
    quantities = draw(st.lists(st.integers(1, 20), min_size=1, max_size=40))
    cut = draw(st.integers(1, len(quantities)))
    archived = draw(st.integers(0, cut - 1))
    return Run(quantities=quantities, supplied=draw(st.integers(0, 200)), cut=cut, archived=archived)


@given(runs(), st.randoms())
def test_a_correct_run_passes_wherever_it_is_cut(run: Run, random_: object) -> None:
    """Orders flow on after the cut, in any order of reading; nothing is blamed."""
    evidence = run.evidence()
    orders = list(evidence.orders)
    random_.shuffle(orders)  # type: ignore[attr-defined]  # hypothesis' own random.Random
    verdict = judge(replace(evidence, orders=orders))
    assert verdict.faults() == {}
    assert verdict.changed_by_hand == []


@given(runs(), st.data())
def test_an_order_that_vanishes_is_found(run: Run, data: st.DataObject) -> None:
    """Whichever record is deleted, its order is lost, and so is its decision if it was counted."""
    evidence = run.evidence()
    orders = list(evidence.orders)
    gone = orders.pop(data.draw(st.integers(0, len(orders) - 1)))
    assert isinstance(gone, OrderState)
    verdict = judge(replace(evidence, orders=orders))
    assert gone.order.id in verdict.lost
    assert (len(verdict.lost) == 2) == ((gone.sequence or 0) <= run.cut)


@given(runs(), st.integers(-30, 30).filter(bool))
def test_any_error_in_what_is_reserved_is_found(run: Run, error: int) -> None:
    """Stock taken twice, or not at all, for whatever quantity."""
    evidence = run.evidence()
    reserved = {"cable": evidence.stock.reserved["cable"] + error}
    verdict = judge(replace(evidence, stock=replace(evidence.stock, reserved=reserved)))
    assert verdict.duplicated == (["cable"] if error > 0 else [])
    assert ("cable" in verdict.oversold) == (error < 0)


@given(runs(), st.data())
def test_a_decision_that_is_had_twice_is_found(run: Run, data: st.DataObject) -> None:
    """An order with the number of another is doubled, whichever two they are."""
    evidence = run.evidence()
    orders = [state for state in evidence.orders if isinstance(state, OrderState)]
    before_cut = [index for index, state in enumerate(orders) if (state.sequence or 0) <= run.cut]
    assume(len(before_cut) >= 2)
    first, second = data.draw(st.lists(st.sampled_from(before_cut), min_size=2, max_size=2, unique=True))
    orders[second] = replace(orders[second], sequence=orders[first].sequence)
    verdict = judge(replace(evidence, orders=orders))
    assert len(verdict.duplicated) == 1
    assert verdict.lost == []
