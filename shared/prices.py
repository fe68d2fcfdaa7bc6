"""What the lines of an order cost, as it was fixed when the order was accepted.

The accept script writes prices as text into a field of the record: the currency and the total, split by a
tab, then one line per item with its unit amount and the product's name, or nothing where the item has no
price. Names hold no control characters, so neither sign can occur in one. Amounts are in the currency's
smallest unit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field

from shared.currencies import CURRENCIES
from shared.errors import DecodeError

MAX_UNIT_AMOUNT: Final = 1_000_000_000
MAX_AMOUNT_TOTAL: Final = 10**15
"""A hundred lines of ten thousand pieces at the highest price."""
MAX_NAME_LENGTH: Final = 200
CURRENCY_PATTERN: Final = r"^[A-Z]{3}$"

UnitAmount = Annotated[int, Field(strict=True, ge=0, le=MAX_UNIT_AMOUNT)]
AmountTotal = Annotated[int, Field(strict=True, ge=0, le=MAX_AMOUNT_TOTAL)]
CurrencyCode = Annotated[str, Field(pattern=CURRENCY_PATTERN)]
"""By its form; a product that was priced by hand may name any."""


def _known(currency: str) -> str:
    if currency not in CURRENCIES:
        raise ValueError("must be a currency of ISO 4217, such as EUR")
    return currency


Currency = Annotated[CurrencyCode, AfterValidator(_known)]
"""One of ISO 4217."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinePrice:
    """What one piece of an item costs, and what the product was called then."""

    unit_amount: UnitAmount
    name: Annotated[str, Field(max_length=MAX_NAME_LENGTH)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """The prices of an order of which at least one item has one.

    ``lines`` go with the order's items, None where an item has no price; then there is no ``amount_total``.
    """

    currency: CurrencyCode
    lines: tuple[LinePrice | None, ...]
    amount_total: AmountTotal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What an order costs in all, or a client takes it to cost; None for what is not known or not said."""

    currency: str | None = None
    amount_total: int | None = None

    def __bool__(self) -> bool:
        return self.currency is not None or self.amount_total is not None


def sum_of(quantities: Sequence[int], prices: Prices) -> int | None:
    """What the lines come to, None where one has no price: what ``amount_total`` has to be."""
    total = 0
    for qty, line in zip(quantities, prices.lines, strict=True):
        if line is None:
            return None
        total += qty * line.unit_amount
    return total


def prices_text(prices: Prices | None) -> str:
    """The text that the record holds; '' where there are no prices."""
    if prices is None:
        return ""
    total = "" if prices.amount_total is None else prices.amount_total
    lines = ("" if line is None else f"{line.unit_amount}\t{line.name}" for line in prices.lines)
    return "\n".join((f"{prices.currency}\t{total}", *lines))


def read_prices(text: str | None, items: int) -> Prices | None:
    """The inverse of :func:`prices_text` for an order of so many items. Raises DecodeError."""
    if not text:
        return None
    try:
        head, *lines = text.split("\n")
        currency, total = head.split("\t")
        prices = Prices(
            currency=currency,
            lines=tuple(_line(line) if line else None for line in lines),
            amount_total=int(total) if total else None,
        )
    except ValueError as error:
        raise DecodeError(f"the prices make no sense: {error}") from error
    if len(lines) != items:
        raise DecodeError(f"{len(lines)} prices for {items} items")
    return prices


def _line(text: str) -> LinePrice:
    unit_amount, name = text.split("\t")
    return LinePrice(unit_amount=int(unit_amount), name=name[:MAX_NAME_LENGTH])


def cost_of(prices: Prices | None) -> Cost:
    """What an order at these prices costs in all."""
    return Cost() if prices is None else Cost(currency=prices.currency, amount_total=prices.amount_total)


def members(prices: Prices | None) -> dict[str, Any]:
    """Currency and total as answers show them, each where it is known."""
    cost = cost_of(prices)
    found = {"currency": cost.currency, "amount_total": cost.amount_total}
    return {name: value for name, value in found.items() if value is not None}
