"""What may go wrong in one simulation, drawn from its seed, and the dice that decide each request's fate.

Each seed switches whole kinds of fault on and off rather than having a little of all of them: many bugs show
only where one kind comes often, and some only where nothing else gets in their way.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Final

from tests.simulator.network import Cut, Passage

SKUS: Final = ("cable", "case", "plug")
BROKEN_SKU: Final = "broken"
"""Its stock entry is no number, as an operator may leave it: orders for it are dead-lettered."""
REPAIRED_PIECES: Final = 12
"""What an operator sets it to."""
UNKNOWN_SKU: Final = "unheard-of"
PROMPT_SECONDS: Final = 0.004
"""A way of the wire takes so long at most while all is well."""
LONGEST_SENDING_SECONDS: Final = 9.5
SOONEST_LATE_SECONDS, LATEST_SECONDS = 1.0, 4.0
"""When something arrives that nobody waits for any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Odds:
    """How likely each thing is, per request."""

    slow: float = 0.0
    store_cut: float = 0.0
    store_late: float = 0.0
    interleaved: float = 0.0
    publish_cut: float = 0.0
    publish_late: float = 0.0
    copied: float = 0.0
    answer_lost: float = 0.0
    handler_fails: float = 0.0
    send_slow: float = 0.0
    send_refused: float = 0.0
    send_unclear: float = 0.0


USUAL: Final = Odds(
    slow=0.2,
    store_cut=0.2,
    store_late=0.15,
    interleaved=0.3,
    publish_cut=0.35,
    publish_late=0.25,
    copied=0.5,
    answer_lost=0.4,
    handler_fails=0.3,
    send_slow=0.4,
    send_refused=0.3,
    send_unclear=0.2,
)
CALM: Final = Odds()
MEAN_PAUSES: Final = {
    "crash": (0.5, 6.0),
    "stall": (3.0, 15.0),
    "drain": (2.0, 10.0),
    "connection": (1.5, 8.0),
    "broker": (2.0, 10.0),
    "store_away": (0.7, 10.0),
    "store_frozen": (2.0, 10.0),
    "store_full": (3.0, 12.0),
    "mail": (3.0, 12.0),
    "poison": (2.0, 8.0),
    "operator": (1.0, 6.0),
    "store_refuses": (1.0, 8.0),
    "given_up": (1.0, 8.0),
    "price": (0.2, 3.0),
    "move": (0.2, 3.0),
    "choice": (0.2, 3.0),
}
"""Seconds between two faults of a kind, on average: from the roughest seed to the mildest."""
OWN_DICE: Final = {
    "store_refuses": "refusals",
    "given_up": "given up",
    "price": "price changes",
    "move": "moves",
    "choice": "choices",
}
"""Kinds with dice of their own, so that the other faults of each seed are what they were without them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One simulation. ``pauses`` has the mean seconds between faults, by kind; what is absent never comes.

    ``events_per_message`` is 0 where each process has a number of its own, as while a new version comes in.
    """

    seed: int
    seconds: float
    orders: int
    stock: Mapping[str, int]
    products: Mapping[str, tuple[int, str]]
    gateways: int
    processors: int
    notifiers: int
    prefetch: int
    batch_limit: int
    events_per_message: int
    sends_at_once: int
    outbox_limit: int
    is_durable: bool
    clock_skew: float
    unknown_mailboxes: float
    mailboxes: float
    broken_skus: float
    dashboards: int
    repaired_at: float | None
    is_swept: bool
    letters_per_hour: int
    odds: Odds
    pauses: Mapping[str, float]
    schedules: bool = False
    payments: float | None = None
    """How often a request about a payment goes wrong; None where nothing is to be paid for."""
    is_watched: bool = False
    """Whether a client follows the dashboards' stream of events."""
    counters: int = 0
    """How many consumers count the events, each once, by an inbox."""

    @property
    def supplied(self) -> Mapping[str, int]:
        """All stock that is ever put in."""
        return {**self.stock, BROKEN_SKU: REPAIRED_PIECES} if self.repaired_at is not None else self.stock

    @property
    def leases_may_end(self) -> bool:
        """Whether something can keep a notifier from marking what it sent until its lease is over."""
        stops = {"stall", "store_away", "store_frozen", "store_full"}
        return bool(stops & self.pauses.keys()) or self.odds.store_cut > 0 or self.odds.store_late > 0

    def __str__(self) -> str:
        odds = {field.name: round(getattr(self.odds, field.name), 3) for field in fields(Odds)}
        likely = " ".join(f"{name}={value}" for name, value in odds.items() if value)
        pauses = " ".join(f"{kind}/{mean:.1f}s" for kind, mean in self.pauses.items())
        return (
            f"seed {self.seed}: {self.orders} placements in {self.seconds:.1f} s, stock {dict(self.stock)}, "
            f"{self.gateways} gateways, {self.processors} processors, {self.notifiers} notifiers, "
            f"prefetch {self.prefetch}, batch {self.batch_limit}, "
            f"{self.events_per_message or 'mixed'} events a message, sends at once {self.sends_at_once}, "
            f"outbox bound {self.outbox_limit}, {'durable' if self.is_durable else 'weak'} store, "
            f"clocks wrong by {self.clock_skew:.0f} s, {self.dashboards} dashboards, "
            f"{self.letters_per_hour} letters an hour, products {dict(self.products)}, "
            f"payments {self.payments}, {'watched, ' if self.is_watched else ''}"
            f"{f'{self.counters} counters, ' if self.counters else ''}"
            f"{BROKEN_SKU} repaired at {self.repaired_at}, {'swept' if self.is_swept else 'not swept'}\n"
            f"odds: {likely or 'none'}\nfaults: {pauses or 'none'}"
        )


def _products(seed: int) -> Mapping[str, tuple[int, str]]:
    """What SKUs cost at first: some have no product, and in some seeds none has."""
    dice = random.Random(f"products {seed}")
    share = dice.choice((0.0, 0.7, 0.9, 1.0, 1.0))
    return {
        sku: (dice.randint(0, 3_000), "USD" if dice.random() < 0.04 else "EUR")
        for sku in (*SKUS, BROKEN_SKU)
        if dice.random() < share
    }


def draw(seed: int) -> Plan:
    """The plan of a seed."""
    dice = random.Random(f"plan {seed}")
    share = dice.choice((0.0, 0.25, 0.25, 0.5, 0.5, 0.8))
    odds = Odds(
        **{
            field.name: dice.choice((0.3, 1.0, 1.0, 2.0)) * getattr(USUAL, field.name)
            if dice.random() < share
            else 0.0
            for field in fields(Odds)
        }
    )
    own = {kind: random.Random(f"{name} {seed}") for kind, name in OWN_DICE.items()}
    pauses = {
        kind: which.uniform(*bounds)
        for kind, bounds in MEAN_PAUSES.items()
        for which in (own.get(kind, dice),)
        if which.random() < (2 * share if kind == "crash" else share)
    }
    seconds, has_operator = dice.uniform(4.0, 16.0), "operator" in pauses
    return Plan(
        seed=seed,
        seconds=seconds,
        orders=dice.randint(3, 8),
        stock={sku: dice.choice((0, 5, 10, 20, 40)) for sku in SKUS[: dice.randint(1, 3)]},
        products=_products(seed),
        gateways=dice.choice((1, 1, 2)),
        processors=dice.choice((1, 1, 2)),
        notifiers=dice.choice((1, 1, 2)),
        prefetch=dice.randint(1, 12),
        batch_limit=dice.randint(1, 6),
        events_per_message=random.Random(f"messages {seed}").choice((0, 0, 1, 3, 64, 64)),
        sends_at_once=dice.choice((1, 1, 1, 3)),
        outbox_limit=dice.choice((100, 100, 3)),
        is_durable=dice.random() < 0.8,
        clock_skew=dice.choice((0.0, 0.0, 3600.0)),
        unknown_mailboxes=dice.choice((0.0, 0.1, 0.4)),
        broken_skus=dice.choice((0.0, 0.0, 0.05, 0.3)),
        dashboards=dice.choice((1, 1, 2)) if has_operator else 0,
        repaired_at=dice.random() * seconds if has_operator and dice.random() < 0.6 else None,
        is_swept=dice.random() < 0.2,
        letters_per_hour=dice.choice((20, 20, 2)),
        mailboxes=dice.choice((0.1, 0.5, 0.9)),
        odds=odds,
        pauses=pauses,
        schedules=random.Random(f"schedules {seed}").random() < 0.3,
        payments=random.Random(f"payments {seed}").choice((None, None, 0.0, 0.2, 0.5)),
        is_watched=has_operator and random.Random(f"watched {seed}").random() < 0.4,
    )


def without(plan: Plan, *kinds: str) -> Plan:
    """The same without these kinds of fault."""
    return replace(plan, pauses={kind: mean for kind, mean in plan.pauses.items() if kind not in kinds})


class Weather:
    """The dice of one simulation, until they are put away."""

    def __init__(self, plan: Plan, random_: random.Random) -> None:
        self._odds = plan.odds
        self.dice = random_

    @property
    def is_calm(self) -> bool:
        """Whether nothing goes wrong any more."""
        return self._odds is CALM

    def clear_up(self) -> None:
        """Nothing goes wrong any more."""
        self._odds = CALM

    def come_back(self, odds: Odds) -> None:
        """Things go wrong again."""
        self._odds = odds

    def happens(self, name: str) -> bool:
        """Whether something of the odds comes to pass."""
        odds: float = getattr(self._odds, name)
        return odds > 0 and self.dice.random() < odds

    def way(self) -> float:
        """How long one way of the wire takes, in seconds."""
        return self.dice.random() * (0.3 if self.happens("slow") else PROMPT_SECONDS)

    def sending_seconds(self) -> float:
        """How long the mail server takes to take a message."""
        return self.dice.uniform(0.0, LONGEST_SENDING_SECONDS) if self.happens("send_slow") else self.way()

    def too_late(self) -> float:
        """A time after which nobody may be waiting any more."""
        return self.dice.uniform(SOONEST_LATE_SECONDS, LATEST_SECONDS)

    def to_store(self, commands: int) -> Passage:
        """How a request to the store fares."""
        late, cut = self.happens("store_late"), self.happens("store_cut")
        broken = [Cut.BEFORE, Cut.AFTER] + ([Cut.MIDWAY] if commands > 1 else [])
        return Passage(
            there=self.too_late() if late else self.way(),
            back=self.way(),
            cut=self.dice.choice(broken) if cut else Cut.NOWHERE,
        )

    def lets_others_in(self) -> bool:
        """Whether others' commands come between those of one pipeline."""
        return self.happens("interleaved")

    def to_broker(self) -> Passage:
        """How a publish fares."""
        late, cut = self.happens("publish_late"), self.happens("publish_cut")
        return Passage(
            there=2 * self.too_late() if late else self.way(),
            back=self.way(),
            cut=self.dice.choice([Cut.BEFORE, Cut.AFTER]) if cut else Cut.NOWHERE,
        )

    def in_order(self) -> Passage:
        """How something fares that nobody answers, on a connection that is broken as a whole or not."""
        return Passage(there=self.way(), back=0.0)

    def copies(self) -> int:
        """How often a message comes, from 1 to 5 times."""
        return self.dice.randint(2, 5) if self.happens("copied") else 1
