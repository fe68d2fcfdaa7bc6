"""What an order cost by the word of each who was told: the oracle's view of prices.

The record is compared with itself (the total with lines times pieces), with what the client was told, with
what was announced, and with what the letter said.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from shared.currencies import written
from shared.messages import Order
from shared.prices import Cost, Prices, cost_of, sum_of


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceEvidence:
    """``promised`` has what clients were told by order, ``announced`` what events said and ``letters`` the
    totals that letters named, both by event id. What is absent was not looked at.
    """

    promised: Mapping[str, Cost] = field(default_factory=dict)
    announced: Mapping[str, Prices | None] = field(default_factory=dict)
    letters: Mapping[str, Collection[str]] = field(default_factory=dict)


def price_faults(
    order: Order, prices: Prices | None, evidence: PriceEvidence, event_ids: Iterable[str]
) -> Iterator[str]:
    """What is wrong with the prices of an order; ``event_ids`` are those of its events."""
    cost = cost_of(prices)
    if prices is not None:
        total = sum_of([item.qty for item in order.items], prices)
        if total != prices.amount_total:
            lines = Cost(currency=cost.currency, amount_total=total)
            yield f"its lines come to {_text(lines)}, its total is {_text(cost)}"
    promised = evidence.promised.get(order.id, cost)
    if promised != cost:
        yield f"its client was told {_text(promised)}, recorded is {_text(cost)}"
    said = {_total(cost)}
    for event_id in event_ids:
        announced = evidence.announced.get(event_id, prices)
        if announced != prices:
            yield f"{event_id} has {_text(cost_of(announced))}, the record {_text(cost)}, or other lines"
        for letter in sorted(set(evidence.letters.get(event_id, said)) - said):
            yield f"its letter named {letter or 'no total'}, recorded is {_text(cost)}"


def _total(cost: Cost) -> str:
    """As letters have it."""
    if cost.currency is None or cost.amount_total is None:
        return ""
    return written(cost.amount_total, cost.currency)


def _text(cost: Cost) -> str:
    return _total(cost) or f"no total ({cost.currency or 'no currency'})"
