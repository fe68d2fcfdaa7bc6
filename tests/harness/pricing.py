"""Products and prices, as tests set and expect them."""

from typing import Any

from shared import keyspace
from shared.prices import LinePrice, Prices


async def price(redis: Any, sku: str, unit_amount: int, currency: str = "EUR", name: str = "") -> None:
    """What a SKU costs from now on."""
    fields = {"unit_amount": unit_amount, "currency": currency, "name": name or sku.title(), "version": 1}
    await redis.hset(keyspace.product(sku), mapping=fields)


def prices_of(amount_total: int | None, *lines: int | None, currency: str = "EUR") -> Prices:
    """Prices of lines that are called as :func:`price` calls cable, case and plug."""
    names = ("Cable", "Case", "Plug")
    found = [
        None if amount is None else LinePrice(unit_amount=amount, name=name)
        for amount, name in zip(lines, names, strict=False)
    ]
    return Prices(currency=currency, lines=tuple(found), amount_total=amount_total)
