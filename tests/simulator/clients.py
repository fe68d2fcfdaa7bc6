"""Clients that place orders, hear nothing or the wrong thing, ask again, and note what they were promised."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from api_gateway.ports import NotDurable
from shared.errors import StoreUnavailable
from shared.messages import Order, OrderItem, Trace as Correlation
from shared.orders.placement import (
    Accepted,
    Duplicate,
    KeyReused,
    OutboxFull,
    Placement,
    PlacementResult,
    PriceChanged,
    Replayed,
)
from shared.prices import Cost, cost_of
from tests.simulator.customers import UNKNOWN_MAILBOX
from tests.simulator.pricing import agrees, priced
from tests.simulator.substitutes import EPOCH_SECONDS
from tests.simulator.trace import Trace
from tests.simulator.weather import BROKEN_SKU, UNKNOWN_SKU, Plan

MAILBOX: Final = "a@example.com"
PAUSE_SECONDS: Final = 1.5
REFUSALS: Final = (StoreUnavailable, OutboxFull, NotDurable)
"""What the gateway answers 503 to."""

Place = Callable[[Placement], Awaitable[PlacementResult]]


class NoAnswer(Exception):
    """Raised when the gateway died, is away, or its answer was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What one client wants, with an id of its own or a key, and how often it asks; None: until it knows."""

    name: str
    at: float
    items: tuple[OrderItem, ...]
    email: str | None
    order_id: str | None
    key: str | None
    most_tries: int | None
    expects: Cost
    not_before: int | None = None
    customer: str | None = None


@dataclass(slots=True)
class Ledger:
    """What was asked and what was promised."""

    contents: dict[str, tuple[OrderItem, ...]] = field(default_factory=dict)
    """What was asked for, by the order's id; of several for one id, the one that was accepted."""
    attempted: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    accepted: Counter[str] = field(default_factory=Counter)
    """How often an id was answered as new."""
    by_key: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """The order ids that were promised for each ``Idempotency-Key``."""
    contested: set[str] = field(default_factory=set)
    """Ids and keys that stand for two different contents."""
    unanswered: set[str] = field(default_factory=set)
    """Clients that still ask."""
    costs: dict[str, Cost] = field(default_factory=dict)
    """What each order was promised to cost."""
    faults: list[str] = field(default_factory=list)


def wishes(plan: Plan, dice: random.Random) -> list[Wish]:
    """Who wants what when. Some want the same twice, at once or later, or other things under the same id."""
    found: list[Wish] = []
    expectations = random.Random(f"expectations {plan.seed}")
    calendar = random.Random(f"calendar {plan.seed}")
    owners = random.Random(f"owners {plan.seed}")
    for number in range(plan.orders):
        wish = _wish(plan, dice, number)
        wish = replace(wish, expects=_expectation(plan, expectations, wish.items))
        if plan.schedules and plan.is_durable and calendar.random() < 0.4:
            at = EPOCH_SECONDS + wish.at + calendar.uniform(-1.0, plan.seconds)
            wish = replace(wish, not_before=round(at * 1_000_000))
        if "choice" in plan.pauses:
            wish = replace(wish, customer=owners.choice(("ann", "ann", "ben", None)))
        found.append(wish)
        if dice.random() < 0.3:
            found.append(_again(plan, dice, wish))
    return found


def _wish(plan: Plan, dice: random.Random, number: int) -> Wish:
    has_key, has_id = dice.choice(((False, True), (False, True), (True, False), (True, True)))
    return Wish(
        name=f"client-{number}",
        at=dice.random() * plan.seconds,
        items=_items(plan, dice),
        email=_mailbox(plan, dice),
        order_id=f"o{number}" if has_id else None,
        key=f"k{number}" if has_key else None,
        most_tries=dice.choice((1, 2, None, None, None)),
        expects=Cost(),
    )


def _expectation(plan: Plan, dice: random.Random, items: tuple[OrderItem, ...]) -> Cost:
    """What the products cost at first, of which some clients remember all, some a part, and some too much."""
    remembered = dice.choice((None, None, None, "currency", "total", "both", "both"))
    mistake = dice.choice((0, 0, 0, 0, 0, 1))
    cost = cost_of(priced(items, plan.products))
    total = None if cost.amount_total is None else cost.amount_total + mistake
    return Cost(
        currency=cost.currency if remembered in ("currency", "both") else None,
        amount_total=total if remembered in ("total", "both") else None,
    )


def _mailbox(plan: Plan, dice: random.Random) -> str | None:
    if dice.random() < plan.unknown_mailboxes:
        return UNKNOWN_MAILBOX
    return MAILBOX if dice.random() < plan.mailboxes else None


def _again(plan: Plan, dice: random.Random, wish: Wish) -> Wish:
    return Wish(
        name=f"{wish.name}b",
        at=wish.at + dice.choice((0.0, 0.01, dice.random() * plan.seconds)),
        items=wish.items if dice.random() < 0.7 else _items(plan, dice),
        email=wish.email,
        order_id=wish.order_id,
        key=wish.key,
        most_tries=dice.choice((1, None)),
        expects=wish.expects,
        not_before=wish.not_before,
        customer=wish.customer,
    )


def _items(plan: Plan, dice: random.Random) -> tuple[OrderItem, ...]:
    known = [*plan.stock]
    skus = dice.sample(known, dice.randint(1, len(known)))
    skus += [BROKEN_SKU] if dice.random() < plan.broken_skus else []
    skus += [UNKNOWN_SKU] if dice.random() < 0.05 else []
    return tuple(OrderItem(sku=sku, qty=dice.randint(1, 4)) for sku in skus)


class Clients:
    """Everybody who places orders in one simulation."""

    def __init__(self, place: Place, dice: random.Random, trace: Trace) -> None:
        self.ledger = Ledger()
        self._place = place
        self._dice = dice
        self._trace = trace
        self._requests = 0

    async def run(self, wanted: Sequence[Wish]) -> None:
        """Returns when every client knows, or has given up."""
        self._note_contested(wanted)
        self.ledger.unanswered |= {wish.name for wish in wanted}
        await asyncio.gather(*(self._pursue(wish) for wish in wanted))

    async def _pursue(self, wish: Wish) -> None:
        await asyncio.sleep(wish.at)
        tries = 0
        while wish.most_tries is None or tries < wish.most_tries:
            tries += 1
            if await self._ask(wish):
                break
            await asyncio.sleep(self._dice.random() * PAUSE_SECONDS)
        self.ledger.unanswered.discard(wish.name)

    async def _ask(self, wish: Wish) -> bool:
        """Places the order once; whether the client knows now what became of it."""
        placement = self._placement(wish)
        order = placement.order
        self.ledger.attempted.add(order.id)
        self.ledger.contents.setdefault(order.id, order.items)
        try:
            result = await self._place(placement)
        except REFUSALS as error:
            self._trace.note(f"{wish.name}: 503 for {order.id}, {error}")
            return False
        except NoAnswer as error:
            self._trace.note(f"{wish.name}: no answer for {order.id}, {error}")
            return False
        self._trace.note(f"{wish.name}: {result}")
        self._write_down(wish, placement, result)
        return True

    def _placement(self, wish: Wish) -> Placement:
        self._requests += 1
        order_id = wish.order_id or f"s{self._requests}"
        return Placement(
            order=Order(id=order_id, items=wish.items, email=wish.email),
            client_named_id=wish.order_id is not None,
            idempotency_key=wish.key,
            media_type="application/json",
            trace=Correlation(correlation_id=f"{wish.name}.{self._requests}"),
            expected=wish.expects,
            not_before=wish.not_before,
            customer=wish.customer,
        )

    def _write_down(self, wish: Wish, placement: Placement, result: PlacementResult) -> None:
        ledger, order_id = self.ledger, result.order_id
        match result:
            case Accepted():
                ledger.accepted[order_id] += 1
                ledger.contents[order_id] = placement.order.items
                ledger.acknowledged.add(order_id)
            case Replayed():
                ledger.acknowledged.add(order_id)
            case Duplicate(status=None):
                ledger.faults.append(f"{order_id} is called a duplicate, and there is no such order")
            case Duplicate(same_content=same):
                ledger.acknowledged.add(order_id)
                if not same and order_id not in ledger.contested:
                    ledger.faults.append(f"{order_id} was asked for in one way only, and is called different")
            case KeyReused() if wish.key not in ledger.contested:
                ledger.faults.append(f"{wish.key} was used in one way only, and is called reused")
            case PriceChanged(prices=prices) if agrees(cost_of(prices), wish.expects):
                ledger.faults.append(f"{order_id} was refused at the price that was expected")
        if isinstance(result, Accepted | Replayed):
            self._write_down_cost(wish, result)
            if wish.key is not None:
                ledger.by_key[wish.key].add(order_id)

    def _write_down_cost(self, wish: Wish, result: Accepted | Replayed) -> None:
        """The same for the same order each time, and what the client expects if it expects something."""
        order_id, cost = result.order_id, cost_of(result.prices)
        before = self.ledger.costs.setdefault(order_id, cost)
        if before != cost or not agrees(cost, wish.expects):
            why = f"{order_id} was promised at {before}, then at {cost}; expected was {wish.expects}"
            self.ledger.faults.append(why)

    def _note_contested(self, wanted: Sequence[Wish]) -> None:
        seen: dict[str, tuple[OrderItem, ...]] = {}
        for wish in wanted:
            for name in (wish.order_id, wish.key):
                if name is not None and seen.setdefault(name, wish.items) != wish.items:
                    self.ledger.contested.add(name)
