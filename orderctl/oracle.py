"""The verdict on a run: what was lost, doubled, oversold, unexpected or stuck.

A pure function over evidence, shared by the tests and by ``orderctl verify``. It trusts nobody's summary: it
compares what clients were told with what the store holds and with what customers received.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from shared.keyspace import OrderStatus
from shared.messages import Order

TERMINAL = frozenset({OrderStatus.CREATED, OrderStatus.REJECTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderState:
    """One order as the store has it; ``sequence`` is its place among all decisions."""

    order: Order
    status: OrderStatus
    sequence: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StockState:
    """Stock at one instant, in pieces by SKU.

    ``decided`` is how many decisions had been made by then; ``reserved`` sums the created ones among them.
    ``supplied`` is what was put in through the API or by a test, where that is known.
    """

    decided: int
    available: Mapping[str, int]
    reserved: Mapping[str, int]
    supplied: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything the verdict rests on.

    ``acknowledged`` are the ids that clients were told 202 for; ``attempted`` all that they tried.
    ``notified`` counts what arrived at the customers' end per event id; None where nobody counted.
    """

    attempted: Collection[str]
    acknowledged: Collection[str]
    orders: Iterable[OrderState]
    stock: StockState
    notified: Mapping[str, int] | None = None


@dataclass(slots=True, kw_only=True)
class Verdict:
    """The offending orders and SKUs by kind of fault; dead letters are reported and are no fault."""

    orders: int = 0
    created: int = 0
    rejected: int = 0
    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    oversold: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    unannounced: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    changed_by_hand: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing was lost, doubled, oversold, unexpected, stuck or left unannounced."""
        return not self.faults()

    def faults(self) -> dict[str, list[str]]:
        """The kinds of fault that were found, each with its offenders."""
        kinds = ("lost", "duplicated", "unexpected", "oversold", "stuck", "unannounced")
        return {kind: getattr(self, kind) for kind in kinds if getattr(self, kind)}


def judge(evidence: Evidence) -> Verdict:
    """Compares the evidence with itself. Takes the orders one by one, so they may be streamed."""
    verdict = Verdict()
    missing = set(evidence.acknowledged)
    attempted = set(evidence.attempted)
    reserved: Counter[str] = Counter()
    sequences: Counter[int] = Counter()
    for state in evidence.orders:
        verdict.orders += 1
        missing.discard(state.order.id)
        _judge_order(state, evidence, verdict)
        if attempted and state.order.id not in attempted:
            verdict.unexpected.append(state.order.id)
        if state.sequence is not None:
            sequences[state.sequence] += 1
            if state.status is OrderStatus.CREATED and state.sequence <= evidence.stock.decided:
                reserved.update({item.sku: item.qty for item in state.order.items})
    verdict.lost += sorted(missing)
    verdict.duplicated += [f"decision {number}" for number, times in sequences.items() if times > 1]
    _judge_stock(evidence.stock, reserved, verdict)
    return verdict


def _judge_order(state: OrderState, evidence: Evidence, verdict: Verdict) -> None:
    order_id, status = state.order.id, state.status
    if status is OrderStatus.DEAD:
        verdict.dead.append(order_id)
    elif status not in TERMINAL:
        verdict.stuck.append(order_id)
    elif state.sequence is None:
        verdict.unexpected.append(order_id)
    else:
        verdict.created += status is OrderStatus.CREATED
        verdict.rejected += status is OrderStatus.REJECTED
        _judge_notifications(order_id, status, evidence.notified, verdict)


def _judge_notifications(
    order_id: str, status: OrderStatus, notified: Mapping[str, int] | None, verdict: Verdict
) -> None:
    if notified is None:
        return
    told = {each: notified.get(f"{order_id}:order.{each.value}.v1", 0) for each in TERMINAL}
    if told[status] == 0:
        verdict.unannounced.append(order_id)
    if sum(told.values()) > 1:
        verdict.duplicated.append(order_id)
    if any(times for each, times in told.items() if each is not status):
        verdict.unexpected.append(order_id)


def _judge_stock(stock: StockState, reserved: Mapping[str, int], verdict: Verdict) -> None:
    for sku in sorted({*stock.available, *stock.reserved, *reserved}):
        if stock.available.get(sku, 0) < 0 or stock.reserved.get(sku, 0) != reserved.get(sku, 0):
            verdict.oversold.append(sku)
        supplied = stock.supplied.get(sku)
        if supplied is not None and stock.available.get(sku, 0) + stock.reserved.get(sku, 0) != supplied:
            verdict.changed_by_hand.append(sku)
