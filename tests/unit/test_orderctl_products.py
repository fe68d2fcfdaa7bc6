"""What an operator types of a product becomes what the gateway takes, to the last cent."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from orderctl.commands.products import set_by
from orderctl.errors import OrderctlError
from orderctl.gateway_client import GatewayClient, Reply
from shared.currencies import amount_of, written

CASE = {"sku": "case", "name": "Case", "unit_amount": 1999, "currency": "EUR"}


@dataclass(slots=True)
class Shop:
    """A gateway with one product or none; remembers what it was asked to write."""

    product: dict[str, Any] | None = None
    asked: list[tuple[str, str, Any]] = field(default_factory=list)

    async def answer(self, method: str, path: str, body: bytes | None, _: Mapping[str, str]) -> Reply:
        """As the contract has it."""
        if method == "GET":
            return (404, {}, b"{}") if self.product is None else (200, {}, json.dumps(self.product).encode())
        sent = json.loads(body or b"")
        self.asked.append((method, path, sent))
        return (201 if method == "POST" else 200), {}, json.dumps((self.product or {}) | sent).encode()

    @property
    def client(self) -> GatewayClient:
        """Who asks it."""
        return GatewayClient(self.answer, "http://shop", 1)


@pytest.mark.parametrize(
    ("text", "currency", "amount"),
    [
        ("19.99", "EUR", 1999),
        ("19.9", "EUR", 1990),
        ("19", "EUR", 1900),
        ("0.07", "USD", 7),
        ("1999", "JPY", 1999),
        ("1.005", "KWD", 1005),
        ("4503599627.37", "EUR", 450_359_962_737),
    ],
)
def test_an_amount_is_read_exactly(text: str, currency: str, amount: int) -> None:
    """Digit by digit, in the currency's smallest unit; written, it is the same amount."""
    assert amount_of(text, currency) == amount
    assert (
        amount_of(written(amount, currency).removesuffix(f" {currency}").replace(" ", ""), currency) == amount
    )


@pytest.mark.parametrize(
    ("text", "currency"),
    [
        *((text, "EUR") for text in ("19.999", "19,99", "-1", "1e3", "", ".5", "5.", "٣", "1 000", "nan")),
        ("19.0", "JPY"),
        ("1", "ABC"),
        ("1", "eur"),
    ],
)
def test_what_is_no_amount_of_the_currency_is_refused(text: str, currency: str) -> None:
    """Nothing is rounded and nothing guessed."""
    with pytest.raises(ValueError, match=r"must be a number such as|is no currency"):
        amount_of(text, currency)


async def test_a_new_product_is_added() -> None:
    """With what is named of it."""
    shop = Shop()
    await set_by(shop.client, "case", "19.99", "EUR", {"name": "Case"})
    assert shop.asked == [("POST", "/products", CASE)]


async def test_a_product_that_is_there_is_changed() -> None:
    """A price alone is in the currency that the product has."""
    shop = Shop(CASE | {"currency": "JPY"})
    await set_by(shop.client, "case", "1799", None, {})
    assert shop.asked == [("PATCH", "/products/case", {"unit_amount": 1799, "currency": "JPY"})]


@pytest.mark.parametrize(
    ("product", "price", "currency", "told", "needed"),
    [
        (None, "1", "EUR", {}, "--name"),
        (None, None, None, {"name": "Case"}, "--price and --currency"),
        (None, "1", None, {"name": "Case"}, "--currency"),
        (CASE, None, "JPY", {}, "--price"),
        (CASE, "1.999", None, {}, "--price 1.999"),
    ],
)
async def test_what_is_missing_is_said_before_anything_is_written(
    product: dict[str, Any] | None, price: str | None, currency: str | None, told: dict[str, str], needed: str
) -> None:
    """By the option that is to be given."""
    shop = Shop(product)
    with pytest.raises(OrderctlError, match=needed):
        await set_by(shop.client, "case", price, currency, told)
    assert shop.asked == []
