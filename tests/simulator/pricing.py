"""The catalogue's part: products whose prices change while orders arrive, and whether each was read right.

The price of an order is that of the instant at which the accept script ran, which only the store has seen: so
the store tells of every answer of that script.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

from shared import keyspace
from shared.messages import OrderItem, decode_order
from shared.prices import Cost, LinePrice, Prices, cost_of, prices_text, sum_of
from tests.simulator.store import StoreServer
from tests.simulator.trace import Trace

HIGHEST: Final = 5_000
REFUSED: Final = ("price_changed", "currencies", "unknown_products")
EXPECTED_CURRENCY, EXPECTED_TOTAL = 13, 14
"""Where the script's arguments have what the client expects."""

Product = tuple[int, str]
"""What a piece costs, and in which currency."""


def priced(items: Sequence[OrderItem], products: Mapping[str, Product]) -> Prices | None:
    """What an order of these items costs, None where no product has a price."""
    found = [products.get(item.sku) for item in items]
    currencies = [product[1] for product in found if product]
    if not currencies:
        return None
    lines = tuple(
        product and LinePrice(unit_amount=product[0], name=name_of(item.sku, product))
        for item, product in zip(items, found, strict=True)
    )
    prices = Prices(currency=currencies[0], lines=lines, amount_total=None)
    total = sum_of([item.qty for item in items], prices)
    return Prices(currency=currencies[0], lines=lines, amount_total=total)


def name_of(sku: str, product: Product) -> str:
    """Another with each price, so that a name of one and an amount of another are told apart."""
    return f"{sku} for {product[0]}"


class PriceList:
    """What each SKU costs at present, and what the script should have made of it."""

    def __init__(
        self, server: StoreServer, products: Mapping[str, Product], dice: random.Random, trace: Trace
    ) -> None:
        self.faults: list[str] = []
        self._server = server
        self._products = dict(products)
        self._skus = sorted(products)
        self._dice = dice
        self._trace = trace
        self._fixed: dict[str, str] = {}

    def publish(self) -> None:
        """Writes every product, as the catalogue would at its start."""
        for sku in self._skus:
            self._write(sku)

    async def change(self) -> None:
        """One product gets another price, or is removed for a while."""
        if self._skus:
            sku = self._dice.choice(self._skus)
            if sku in self._products and self._dice.random() < 0.2:
                del self._products[sku]
            else:
                currency = self._products.get(sku, (0, "EUR"))[1]
                self._products[sku] = (self._dice.randint(0, HIGHEST), currency)
            self._write(sku)
            self._trace.fault(f"{sku} costs {self._products.get(sku)} from now on")

    def _write(self, sku: str) -> None:
        """At one instant, as the catalogue's script does."""
        key, product = keyspace.product(sku), self._products.get(sku)
        self._server.carry_out("DEL", key)
        fields: tuple[Any, ...] = ("deleted", 1)
        if product:
            fields = ("unit_amount", product[0], "currency", product[1], "name", name_of(sku, product))
        self._server.carry_out("HSET", key, "version", 1, *fields)

    def answered(self, keys: Sequence[str], given: Sequence[Any], result: Sequence[Any]) -> None:
        """The accept script was run just now."""
        order = decode_order(given[4])
        currencies = {product[1] for item in order.items if (product := self._products.get(item.sku))}
        right = "" if len(currencies) > 1 else prices_text(priced(order.items, self._products))
        kind = result[0]
        if kind == "new":
            fixed = self._fixed.setdefault(order.id, right)
            if result[2] != fixed or len(currencies) > 1:
                self.faults.append(f"{order.id} costs {fixed!r} of {currencies}, and was given {result[2]!r}")
        elif kind == "replay" and result[4] != self._fixed.get(result[1], ""):
            self.faults.append(f"{result[1]} is replayed as {result[4]!r}")
        elif kind in REFUSED:
            if self._server.carry_out("EXISTS", keys[1], keys[4]):
                self.faults.append(f"{order.id} is known, and was compared with today's prices: {result}")
            cost = cost_of(priced(order.items, self._products))
            if kind == "price_changed" and (result[1] != right or agrees(cost, _expected(given))):
                self.faults.append(f"{order.id} was refused at {result[1]!r}, and costs {right!r}")


def _expected(given: Sequence[Any]) -> Cost:
    currency, total = given[EXPECTED_CURRENCY], given[EXPECTED_TOTAL]
    return Cost(currency=currency or None, amount_total=None if total == "" else int(total))


def agrees(cost: Cost, expected: Cost) -> bool:
    """Whether an order costs what its client expects it to."""
    return expected.currency in (None, cost.currency) and expected.amount_total in (None, cost.amount_total)
