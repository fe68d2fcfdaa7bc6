"""The verdict on a run: what was lost, doubled, oversold, unexpected, stuck or never announced.

A pure function over evidence, shared by the tests and by ``orderctl verify``. It trusts nobody's summary: it
compares what clients were told with what the store holds and with what customers received. Orders are taken
one by one, so that a hundred thousand of them need a bit each and no more.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence, Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from notifier.domain import MOST_UNMARKED
from orderctl.money import Paying, PriceEvidence, is_unsettled, payment_faults, price_faults
from orderctl.sequences import Sequences
from shared.messages import Order, OrderItem, OrderPlaced, type_name
from shared.orders.model import OUTCOMES, OrderStatus, Payment, Trouble
from shared.orders.moves import ANNOUNCED, TOLD, steps_to, told_steps
from shared.prices import Prices

FAULTS: Final = (
    "lost",
    "duplicated",
    "oversold",
    "unexpected",
    "stuck",
    "unannounced",
    "mispriced",
    "mischarged",
    "unrecorded",
)
REMARKS: Final = ("dead", "undelivered", "unconfirmed", "collected", "repeated", "changed_by_hand")
TOLD_STEPS: Final = (*OUTCOMES, *(status for status in OrderStatus if status in TOLD))
"""What customers are told of, in the order in which it can happen."""
MOST_SUSPECTS: Final = 5
MOST_NUMBERS_NAMED: Final = 1_000
"""How many missing decisions are named one by one; past that only their number says anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderState:
    """One order as the store has it. ``outcome`` is how it was decided, None where it is not, ``sequence``
    its place among all decisions.

    ``is_early`` says that it is scheduled, and its time has not come.
    ``released`` is the place of its cancellation among those that gave stock back, ``moved_at`` when it moved
    after its decision, in microseconds; ``unpublished`` says that this is yet to be announced.
    ``listed`` is the index that names it, where that was looked at. ``told`` counts how often its customer
    was told of each step, None where nobody knows; ``undeliverable`` says that telling was given up,
    ``unconfirmed`` that a letter went out and its receiver has not said what became of it, ``collected`` that
    it waits until its address may have another letter, ``declined`` that its customer wants no mail, and was
    not told of the last step for that. ``contradiction`` is what its notification says that cannot be.
    ``paying`` is how it is paid for, where it is to be and where that was looked at.
    """

    order: Order
    status: OrderStatus
    outcome: OrderStatus | None
    trouble: Trouble | None = None
    sequence: int | None = None
    released: int | None = None
    is_early: bool = False
    moved_at: int = 0
    unpublished: bool = False
    listed: OrderStatus | None = None
    told: Mapping[OrderStatus, int] | None = None
    undeliverable: bool = False
    unconfirmed: bool = False
    collected: bool = False
    declined: bool = False
    contradiction: str = ""
    detail: str = ""
    prices: Prices | None = None
    paying: Paying | None = None

    @property
    def is_over(self) -> bool:
        """Whether it needs no decision any more."""
        return self.outcome is not None or self.status is OrderStatus.CANCELLED

    @property
    def is_untold(self) -> bool:
        """Whether its customer is yet to be told the last step, as far as that is known."""
        last = self.last_step
        return last is not None and self.told is not None and not (self.told.get(last) or self.declined)

    @property
    def last_step(self) -> OrderStatus | None:
        """What its customer is told in any case, as the last thing; None where there is nothing yet."""
        steps = told_steps(self.status, self.outcome)
        return steps[-1] if steps else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """An order that an index names (or a client, where ``listed`` is None) and that has no record."""

    order_id: str
    listed: OrderStatus | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """An order whose record makes no sense."""

    order_id: str
    fault: str
    listed: OrderStatus | None = None


Sighting = OrderState | Absent | Unreadable


@dataclass(frozen=True, slots=True, kw_only=True)
class StockState:
    """Stock at one instant, in pieces by SKU.

    ``decided`` is how many decisions had been made by then, and ``releases`` how many orders had given their
    stock back; ``reserved`` sums the created ones that had not, of which ``archived`` belong to the
    ``archived_orders`` that were removed after their retention, ``archived_undecided`` of them without a
    decision. ``taken_at`` is when that was, in microseconds, where orders were read later.
    ``available`` is None where it is no number. ``supplied`` is what was put in through the API or by a test,
    where that is known.
    """

    decided: int
    available: Mapping[str, int | None]
    reserved: Mapping[str, int]
    supplied: Mapping[str, int] = field(default_factory=dict)
    archived: Mapping[str, int] = field(default_factory=dict)
    archived_orders: int = 0
    archived_undecided: int = 0
    releases: int = 0
    taken_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything the verdict rests on.

    ``acknowledged`` are the ids that clients were told 202 for, ``attempted`` all that they tried (empty
    where others place orders too), ``contents`` what they asked for. ``notified`` counts what arrived at the
    customers' end per channel and event id, ``events`` what was published; None where they were not counted.
    ``notifier_deaths`` is how often a notifier died, each of which may repeat what a channel leaves unmarked.
    ``is_whole`` says that the orders are all there are, so that every decision must belong to one of them.
    ``prices`` is what clients, events and letters said of them.
    """

    stock: StockState
    attempted: Collection[str] = ()
    acknowledged: Collection[str] = ()
    contents: Mapping[str, Sequence[OrderItem]] = field(default_factory=dict)
    orders: Iterable[Sighting] = ()
    notified: Mapping[str, Mapping[str, int]] | None = None
    notifier_deaths: int = 0
    events: Collection[str] | None = None
    is_whole: bool = False
    prices: PriceEvidence = field(default_factory=PriceEvidence)


@dataclass(slots=True, kw_only=True)
class Verdict:
    """The offending orders and SKUs by kind of fault, and ``why`` for each of them.

    Dead letters of orders (``dead``) and of notifications (``undelivered``), letters whose receiver has not
    answered (``unconfirmed``) or that wait for their hour (``collected``), notifications that a death
    explains (``repeated``) and stock that was changed by hand are remarked on and are no fault. ``created``
    and ``rejected`` count decisions, ``cancelled`` the orders that were cancelled, before one or after,
    ``scheduled`` those whose time has not come, ``declined`` those whose customers want no mail.
    ``amounts`` sums up by currency what the created orders cost that were not, as far as that is known;
    ``paid`` counts the orders whose payment is authorised, ``in_sql`` those that were compared with the
    ledger, which is the caller's to do.
    """

    orders: int = 0
    created: int = 0
    rejected: int = 0
    cancelled: int = 0
    scheduled: int = 0
    told: int = 0
    declined: int = 0
    in_sql: int = 0
    paid: int = 0
    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    oversold: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    unannounced: list[str] = field(default_factory=list)
    mispriced: list[str] = field(default_factory=list)
    mischarged: list[str] = field(default_factory=list)
    unrecorded: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    undelivered: list[str] = field(default_factory=list)
    unconfirmed: list[str] = field(default_factory=list)
    collected: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    changed_by_hand: list[str] = field(default_factory=list)
    why: dict[str, str] = field(default_factory=dict)
    amounts: Counter[str] = field(default_factory=Counter)

    @property
    def passed(self) -> bool:
        """Whether there is no fault of any kind."""
        return not self.faults()

    def faults(self) -> dict[str, list[str]]:
        """The kinds of fault that were found, each with its offenders."""
        return {kind: found for kind in FAULTS if (found := self.of_kind(kind))}

    def of_kind(self, kind: str) -> list[str]:
        """The offenders of one kind, ``FAULTS`` and ``REMARKS`` being the kinds."""
        found: list[str] = getattr(self, kind)
        return found

    def blame(self, kind: str, offender: str, why: str) -> None:
        """Adds an offender, once per kind."""
        if offender in self.why and offender in self.of_kind(kind):
            return
        self.of_kind(kind).append(offender)
        before = self.why.get(offender)
        self.why[offender] = f"{before}; {why}" if before else why


def judge(evidence: Evidence) -> Verdict:
    """Compares the evidence with itself."""
    oracle = Oracle(evidence)
    for sighting in evidence.orders:
        oracle.see(sighting)
    return oracle.verdict()


class Oracle:
    """The same as a fold, for orders that come in pages; the evidence's own orders are not looked at."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._attempted = frozenset(evidence.attempted)
        self._unseen = set(evidence.acknowledged)
        self._reserved: Counter[str] = Counter()
        self._dead_by_sku: dict[str, list[str]] = {}
        self._sequences = Sequences(evidence.stock.decided)
        self._explained = 0
        self._repeated = 0
        self._told_again: dict[str, Counter[str]] = {}
        self._newest = (0, "")
        self._verdict = Verdict()

    @property
    def unseen(self) -> AbstractSet[str]:
        """The acknowledged orders that have not been seen yet."""
        return self._unseen

    def see(self, sighting: Sighting) -> None:
        """Takes in one order; every order once, and in the state that counts."""
        match sighting:
            case Absent():
                self._see_absent(sighting)
            case Unreadable():
                self._unseen.discard(sighting.order_id)
                self._explained += sighting.listed in ANNOUNCED
                self._verdict.blame("unexpected", sighting.order_id, f"unreadable record: {sighting.fault}")
            case OrderState():
                self._unseen.discard(sighting.order.id)
                self._see_order(sighting)

    def verdict(self, decided_by_now: int | None = None) -> Verdict:
        """The verdict on everything that was seen; to be asked for once, at the end.

        ``decided_by_now`` is the count of decisions after the last order was read, where that is known.
        """
        number, order_id = self._newest
        if decided_by_now is not None and number > decided_by_now:
            why = f"decision {number}, of {decided_by_now} that were counted"
            self._verdict.blame("unexpected", order_id, why)
        for order_id in sorted(self._unseen):
            self._verdict.blame("lost", order_id, "acknowledged, and the store has no record of it")
        self._judge_repetitions()
        self._judge_sequences()
        for sku in sorted({*self._evidence.stock.available, *self._evidence.stock.reserved, *self._reserved}):
            self._judge_stock(sku)
        return self._verdict

    def _see_absent(self, absent: Absent) -> None:
        if absent.listed is None:
            return  # whether a client was promised it is known at the end
        self._unseen.discard(absent.order_id)
        self._explained += absent.listed in ANNOUNCED
        self._verdict.blame("lost", absent.order_id, f"listed as {absent.listed}, and has no record")

    def _see_order(self, state: OrderState) -> None:
        if self._was_seen(state):
            return
        verdict, order = self._verdict, state.order
        verdict.orders += 1
        verdict.cancelled += state.status is OrderStatus.CANCELLED
        verdict.scheduled += state.is_early
        if self._attempted and order.id not in self._attempted:
            verdict.blame("unexpected", order.id, "nobody placed it")
        asked = self._evidence.contents.get(order.id)
        if asked is not None and list(asked) != list(order.items):
            verdict.blame(
                "lost", order.id, f"placed as {_listing(asked)}, recorded as {_listing(order.items)}"
            )
        if state.listed is not None and state.listed is not state.status:
            verdict.blame("unexpected", order.id, f"listed as {state.listed}, recorded as {state.status}")
        if state.outcome is not None:
            self._see_decision(state)
        elif state.is_over or state.is_early:
            pass  # it was cancelled, or waits for its time, and nothing was taken for it
        elif state.trouble is Trouble.DEAD:
            verdict.blame("dead", order.id, state.detail or "lies in the dead-letter queue")
            for item in order.items:
                self._dead_by_sku.setdefault(item.sku, []).append(order.id)
        else:
            verdict.blame("stuck", order.id, state.detail or f"still {state.status}")
        self._judge_announcement(state)
        self._judge_prices(state)
        self._judge_payment(state)

    def _was_seen(self, state: OrderState) -> bool:
        """Whether it was seen where it stood before: it has moved on since the cut."""
        since = self._evidence.stock.taken_at
        return bool(since) and state.moved_at >= since and self._sequences.is_marked(state.sequence or 0)

    def _judge_prices(self, state: OrderState) -> None:
        event_ids = [f"{state.order.id}:{type_name(OrderPlaced)}"]
        event_ids += [_event_id(state.order.id, step) for step in steps_to(state.status, state.outcome)]
        for why in price_faults(state.order, state.prices, self._evidence.prices, event_ids):
            self._verdict.blame("mispriced", state.order.id, why)
        prices = state.prices
        is_sold = state.outcome is OrderStatus.CREATED and state.status is not OrderStatus.CANCELLED
        if is_sold and prices is not None and prices.amount_total is not None:
            self._verdict.amounts[prices.currency] += prices.amount_total

    def _judge_payment(self, state: OrderState) -> None:
        if state.paying is None:
            return
        self._verdict.paid += state.paying.payment is Payment.AUTHORISED
        for why in payment_faults(state.status, state.paying):
            self._verdict.blame("mischarged", state.order.id, why)
        if is_unsettled(state.status, state.paying.payment):
            why = f"is {state.status}, its payment is still {state.paying.payment}"
            self._verdict.blame("stuck", state.order.id, why)

    def _see_decision(self, state: OrderState) -> None:
        verdict, order = self._verdict, state.order
        verdict.created += state.outcome is OrderStatus.CREATED
        verdict.rejected += state.outcome is OrderStatus.REJECTED
        if state.sequence is None:
            self._explained += 1
            verdict.blame("unexpected", order.id, "decided without being counted")
        elif not self._sequences.mark(state.sequence):
            self._repeated += 1
            verdict.blame("duplicated", order.id, f"decision {state.sequence} is another order's too")
        self._newest = max(self._newest, (state.sequence or 0, order.id))
        if state.outcome is not OrderStatus.CREATED:
            return
        if (state.status is OrderStatus.CANCELLED) is not bool(state.released):
            why = "its stock was given back" if state.released else "its stock was not given back"
            verdict.blame("unexpected", order.id, f"is {state.status}, and {why}")
        stock, released = self._evidence.stock, state.released or 0
        if (state.sequence or 0) <= stock.decided and not 0 < released <= stock.releases:
            self._reserved.update({item.sku: item.qty for item in order.items})

    def _judge_announcement(self, state: OrderState) -> None:
        self._judge_events(state)
        told = self._told(state)
        if told is None:
            return
        verdict, order_id = self._verdict, state.order.id
        due = told_steps(state.status, state.outcome)
        wrong = [step for step in TOLD_STEPS if told.get(step) and step not in due]
        if wrong:
            verdict.blame("unexpected", order_id, f"is {state.status}, its customer was told {wrong[0]}")
        if state.told is not None and max(_times(told)) > 1:
            verdict.blame("duplicated", order_id, f"its customer was told {max(_times(told))} times")
        if state.contradiction:
            verdict.blame("unexpected", order_id, state.contradiction)
        if not due:
            return
        verdict.told += bool(told.get(due[-1]))
        if state.unconfirmed:
            verdict.blame("unconfirmed", order_id, "a letter went out, and its receiver has not answered")
        if not told.get(due[-1]):
            if state.declined:
                verdict.declined += 1
            elif state.undeliverable:
                verdict.blame("undelivered", order_id, state.detail or "its notification is a dead letter")
            elif state.collected:
                verdict.blame("collected", order_id, "waits until its address may have another letter")
            elif not state.unconfirmed:
                verdict.blame("unannounced", order_id, f"is {state.status}, its customer was not told")

    def _judge_events(self, state: OrderState) -> None:
        order_id, verdict = state.order.id, self._verdict
        if state.unpublished:
            verdict.blame("unannounced", order_id, f"is {state.status}, which is yet to be published")
        if self._evidence.events is None:
            return
        steps = steps_to(state.status, state.outcome)
        for step in ANNOUNCED:
            is_published = _event_id(order_id, step) in self._evidence.events
            was_prepared = step is OrderStatus.PROCESSING and OrderStatus.CREATED in steps
            may_be = was_prepared and state.status is OrderStatus.CANCELLED
            if is_published and step not in steps and not may_be:
                verdict.blame("unexpected", order_id, f"is {state.status}, announced as {step}")
            if not is_published and step in steps:
                verdict.blame("unannounced", order_id, f"is {state.status}, and no event says {step}")

    def _told(self, state: OrderState) -> Mapping[OrderStatus, int] | None:
        if state.told is not None or self._evidence.notified is None:
            return state.told
        told: Counter[OrderStatus] = Counter()
        for channel, counted in self._evidence.notified.items():
            times = Counter({each: counted.get(_event_id(state.order.id, each), 0) for each in TOLD_STEPS})
            again = sum(
                max(by_now - max(before, 1), 0)
                for by_now, before in zip(_times(told + times), _times(told), strict=True)
            )
            if again > 0:
                self._told_again.setdefault(channel, Counter())[state.order.id] = again
            told += times
        return told

    def _judge_repetitions(self) -> None:
        """A death explains as many repetitions as its channel leaves unmarked."""
        for channel, again in self._told_again.items():
            explained = self._evidence.notifier_deaths * MOST_UNMARKED.get(channel, 1)
            kind = "repeated" if again.total() <= explained else "duplicated"
            for order_id, times in again.items():
                why = f"its customer was told {times + 1} times"
                self._verdict.blame(kind, order_id, f"{why} by {channel}: {again.total()} of {explained}")

    def _judge_sequences(self) -> None:
        """Every decision that was counted belongs to an order, archived ones to orders that have gone."""
        if not self._evidence.is_whole:
            return
        stock, verdict = self._evidence.stock, self._verdict
        archived = stock.archived_orders - stock.archived_undecided
        missing = stock.decided - archived - self._sequences.marked - self._explained
        missing -= min(max(missing, 0), self._repeated)  # a number that was given twice is one that was not
        if missing < 0:
            why = f"there are {-missing} more decided and archived orders than {stock.decided} decisions"
            verdict.blame("unexpected", "orders.processed.count", why)
        elif missing and missing <= MOST_NUMBERS_NAMED and self._gaps_are_known():
            for number in self._sequences.unmarked():
                verdict.blame("lost", f"decision {number}", "was counted, and no order has it")
        elif missing:
            verdict.blame("lost", f"{missing} decisions", "were counted, and no order has them")

    def _gaps_are_known(self) -> bool:
        return not (self._evidence.stock.archived_orders or self._explained or self._repeated)

    def _judge_stock(self, sku: str) -> None:
        stock, verdict = self._evidence.stock, self._verdict
        reserved, ordered = stock.reserved.get(sku, 0), self._reserved[sku] + stock.archived.get(sku, 0)
        if reserved < ordered:
            verdict.blame("oversold", sku, f"{ordered} pieces in created orders, {reserved} reserved")
        elif reserved > ordered:
            named = ", ".join(self._dead_by_sku.get(sku, ())[:MOST_SUSPECTS])
            suspects = f"; an older script may have been cut that decided {named}" if named else ""
            why = f"{reserved} pieces reserved, {ordered} in created orders{suspects}"
            verdict.blame("duplicated", sku, why)
        available = stock.available.get(sku, 0)
        if available is None:
            verdict.blame("changed_by_hand", sku, "what is available is no number")
            return
        if available < 0:
            verdict.blame("oversold", sku, f"{available} pieces available")
        supplied = stock.supplied.get(sku)
        if supplied is not None and available + reserved != supplied:
            by_hand = available + reserved - supplied
            why = f"{available} available + {reserved} reserved, {supplied} supplied: {by_hand:+} by hand"
            verdict.blame("changed_by_hand", sku, why)


def _times(told: Mapping[OrderStatus, int]) -> Sequence[int]:
    """How often a customer was told of the decision, and of each step after it."""
    return [sum(told.get(each, 0) for each in OUTCOMES), *(told.get(each, 0) for each in TOLD_STEPS[2:])]


def _event_id(order_id: str, step: OrderStatus) -> str:
    return f"{order_id}:{ANNOUNCED[step]}"


def _listing(items: Iterable[OrderItem]) -> str:
    return ", ".join(f"{item.qty} × {item.sku}" for item in items)
