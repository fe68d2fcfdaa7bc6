"""What may go wrong in one world of cells, drawn from its seed."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Final

from tests.simulator.weather import Odds, Plan, draw

KEPT_ODDS: Final = frozenset(
    ("slow", "store_cut", "store_late", "interleaved", "publish_cut", "publish_late", "copied", "answer_lost")
)
KEPT_FAULTS: Final = frozenset(
    ("crash", "stall", "drain", "connection", "broker", "store_away", "store_frozen", "move")
)
"""What there is in one pipeline too, without what makes dead letters of orders: that is tested there."""
MEAN_PAUSES: Final = {
    "slot": (0.2, 2.0),
    "cell_down": (1.5, 8.0),
    "evacuation": (3.0, 12.0),
    "map_away": (2.0, 8.0),
}
"""Seconds between two faults of a kind that only cells have, from the roughest seed to the mildest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellPlan(Plan):
    """One simulation of cells. ``between`` has the mean seconds between faults of cells alone, by kind."""

    cells: int
    routers: int
    customers: int
    between: Mapping[str, float]

    def __str__(self) -> str:
        kinds = " ".join(f"{kind}/{mean:.1f}s" for kind, mean in self.between.items())
        return (
            f"{Plan.__str__(self)}\n{self.cells} cells, {self.routers} routers, {self.customers} customers: "
            f"{kinds or 'nothing moves'}"
        )


def draw_cells(seed: int) -> CellPlan:
    """The plan of a seed: that of one pipeline, without what is not about cells."""
    dice, plan = random.Random(f"cells {seed}"), draw(seed)
    odds = Odds(**{name: getattr(plan.odds, name) for name in KEPT_ODDS})
    plan = replace(
        plan,
        seconds=dice.uniform(3.0, 6.0),
        orders=dice.randint(3, 7),
        products={},
        gateways=1,
        processors=1,
        outbox_limit=100,
        is_durable=True,
        broken_skus=0.0,
        unknown_mailboxes=0.0,
        dashboards=0,
        repaired_at=None,
        is_swept=False,
        schedules=False,
        payments=None,
        is_watched=False,
        odds=odds,
        pauses={kind: mean for kind, mean in plan.pauses.items() if kind in KEPT_FAULTS},
    )
    between = {kind: dice.uniform(*bounds) for kind, bounds in MEAN_PAUSES.items() if dice.random() < 0.7}
    return CellPlan(
        **{field.name: getattr(plan, field.name) for field in fields(Plan)},
        cells=dice.choice((2, 2, 3)),
        routers=dice.choice((1, 2, 3)),
        customers=dice.randint(1, 4),
        between=between,
    )
