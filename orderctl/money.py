"""Money: what an order cost by the word of each who was told, and what was taken for it.

The record is compared with itself (the total with lines times pieces), with what the client was told, with
what was announced, and with what the letter said; and the payment with the provider's own books.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from shared.currencies import written
from shared.messages import Order
from shared.orders.model import OrderStatus, Payment
from shared.prices import Cost, Prices, cost_of, sum_of

PAID_FOR: Final = frozenset((OrderStatus.PROCESSING, OrderStatus.SHIPPED, OrderStatus.DELIVERED))
"""Where an order stands only once it is paid for, if it is to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceEvidence:
    """``promised`` has what clients were told by order, ``announced`` what events said and ``letters`` the
    totals that letters named, both by event id. What is absent was not looked at.
    """

    promised: Mapping[str, Cost] = field(default_factory=dict)
    announced: Mapping[str, Prices | None] = field(default_factory=dict)
    letters: Mapping[str, Collection[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Paying:
    """The payment of an order: where its record says that it stands, how often the provider took money and
    gave it back, and whether somebody will do something about it.
    """

    payment: Payment
    taken: int
    returned: int
    is_due: bool

    @property
    def held(self) -> int:
        """How often the price of the order is with the shop."""
        return self.taken - self.returned


def payment_faults(status: OrderStatus, paying: Paying) -> Iterator[str]:
    """What is wrong with the payment of an order that stands there, at one instant and at any."""
    payment, is_cancelled = paying.payment, status is OrderStatus.CANCELLED
    if paying.taken > 1 or paying.held not in (0, 1):
        yield f"money was taken {paying.taken} times and given back {paying.returned} times"
    if payment is Payment.AUTHORISED and not is_cancelled and not paying.held:
        yield f"its payment is {payment}, and the provider has no money for it"
    if payment in (Payment.DECLINED, Payment.REFUNDED) and paying.held:
        yield f"its payment is {payment}, and the provider has its money"
    if status in PAID_FOR and payment is not Payment.AUTHORISED:
        yield f"is {status}, and its payment is {payment}"
    if not is_cancelled and payment is Payment.REFUNDED:
        yield f"is {status}, and was given its money back"
    if is_unsettled(status, payment) and not paying.is_due:
        yield f"is {status}, its payment is {payment}, and nobody will do anything about that"


def is_unsettled(status: OrderStatus, payment: Payment) -> bool:
    """Whether something is left to be done about a payment."""
    if status is OrderStatus.CANCELLED:
        return payment not in (Payment.DECLINED, Payment.REFUNDED)
    return payment is not Payment.AUTHORISED


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
