"""Prices over HTTP: what is sent, what is answered, and that unpriced orders look as they ever did."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from shared.orders.placement import (
    BrokenProduct,
    PriceChanged,
    SeveralCurrencies,
    UnknownProducts,
    Unpriceable,
)
from shared.prices import Cost
from tests.harness.http_gateway import Gateway, gateway, problem_of
from tests.harness.pricing import prices_of

BODY = (
    '{"id": "order123", "items": [{"sku": "cable", "qty": 2}, {"sku": "case", "qty": 1}], '
    '"currency": "EUR", "amount_total": 4298}'
)
SINGLE = '{"id": "order123", "sku": "cable", "qty": 2, "currency": "JPY", "amount_total": 3998.0}'
UNPRICED_ITEMS = [{"sku": "cable", "qty": 2}, {"sku": "case", "qty": 1}]


@pytest.fixture
async def served() -> AsyncIterator[Gateway]:
    """A gateway with nothing in it, whose products have prices."""
    async with gateway() as running:
        running.intake.prices = prices_of(4298, 1999, 300)
        yield running


async def test_a_receipt_says_what_the_order_costs(served: Gateway) -> None:
    """And a replay says the same, byte for byte."""
    first = await served.post(BODY, Idempotency_Key="k")
    again = await served.post(BODY, Idempotency_Key="k")
    assert first.status == 202
    assert await first.json() == {
        "id": "order123",
        "status": "accepted",
        "message": "Order received: order123",
        "links": {"self": "/orders/order123"},
        "currency": "EUR",
        "amount_total": 4298,
    }
    assert again.headers["Idempotent-Replayed"] == "true"
    assert await again.read() == await first.read()


async def test_a_receipt_in_plain_text_is_the_line_that_it_ever_was(served: Gateway) -> None:
    """Prices are for those who read JSON."""
    answer = await served.post(BODY, Accept="text/plain")
    assert await answer.read() == b"Order received: order123"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (BODY, Cost(currency="EUR", amount_total=4298)),
        (SINGLE, Cost(currency="JPY", amount_total=3998)),
        (BODY.replace(', "amount_total": 4298', ""), Cost(currency="EUR")),
        (BODY.replace('"currency": "EUR", ', ""), Cost(amount_total=4298)),
        (BODY.replace("4298", "null"), Cost(currency="EUR")),
        (BODY.replace("4298", "0"), Cost(currency="EUR", amount_total=0)),
    ],
    ids=["both", "shorthand", "currency", "total", "null", "nothing to pay"],
)
async def test_what_the_client_expects_is_handed_on(served: Gateway, body: str, expected: Cost) -> None:
    """2.0 is an integer here as everywhere, and null is as good as absent."""
    assert (await served.post(body)).status == 202
    (placement,) = served.intake.placements
    assert placement.expected == expected


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('"EUR"', '"eur"', "currency"),
        ('"EUR"', '"XXX"', "currency"),
        ('"EUR"', '"EURO"', "currency"),
        ('"EUR"', "978", "currency"),
        ("4298", "42.98", "amount_total"),
        ("4298", "-1", "amount_total"),
        ("4298", "1000000000000001", "amount_total"),
        ("4298", '"4298"', "amount_total"),
        ("4298", "true", "amount_total"),
    ],
)
async def test_what_cannot_be_a_price_is_named(served: Gateway, old: str, new: str, field: str) -> None:
    """422 with the field and what is wrong about it."""
    answer = await served.post(BODY.replace(old, new))
    problem = await problem_of(answer)
    assert (answer.status, problem["type"]) == (422, "/problems/invalid-fields")
    (error,) = problem["errors"]
    assert error["field"] == field
    assert error["message"].startswith("must ")


@pytest.mark.parametrize(
    ("refusal", "status", "kind", "members"),
    [
        (
            PriceChanged(order_id="order123", prices=prices_of(4298, 1999, 300)),
            409,
            "price-changed",
            {"currency": "EUR", "amount_total": 4298, "skus": []},
        ),
        (
            PriceChanged(order_id="order123", prices=prices_of(None, 1999, None)),
            409,
            "price-changed",
            {"currency": "EUR", "amount_total": None, "skus": ["case"]},
        ),
        (
            PriceChanged(order_id="order123", prices=None),
            409,
            "price-changed",
            {"currency": None, "amount_total": None, "skus": ["cable", "case"]},
        ),
        (
            SeveralCurrencies(order_id="order123", currencies=["EUR", "USD"]),
            422,
            "several-currencies",
            {"currencies": ["EUR", "USD"]},
        ),
        (
            UnknownProducts(order_id="order123", skus=["case"]),
            422,
            "unknown-products",
            {"skus": ["case"]},
        ),
        (BrokenProduct(order_id="order123", key="product:case"), 503, "broken-product", {}),
    ],
    ids=["changed", "a line without a price", "no price at all", "currencies", "unknown", "broken"],
)
async def test_a_refusal_says_what_would_be_right(
    served: Gateway, refusal: Unpriceable, status: int, kind: str, members: dict[str, Any]
) -> None:
    """A problem, for those who ask for plain text too."""
    served.intake.refusal = refusal
    for headers in ({}, {"Accept": "text/plain"}):
        answer = await served.post(BODY, **headers)
        problem = await problem_of(answer)
        assert (answer.status, problem["type"]) == (status, f"/problems/{kind}")
        assert members.items() <= problem.items()
    assert served.budget.orders == []


async def test_a_price_that_cannot_be_read_says_where_it_is_and_what_helps(served: Gateway) -> None:
    """The store is not away, and asking at once would not help."""
    served.intake.refusal = BrokenProduct(order_id="order123", key="product:case")
    answer = await served.post(BODY)
    detail = (await problem_of(answer))["detail"]
    assert detail.startswith("Nothing was accepted. product:case in the store")
    assert answer.headers["Retry-After"] == "60"


async def test_an_order_and_a_list_show_what_it_cost(served: Gateway) -> None:
    """Each piece with the name that it had, the currency, and the total."""
    await served.post(BODY)
    shown = await (await served.send("GET", "/orders/order123")).json()
    listed = (await (await served.send("GET", "/orders")).json())["orders"][0]
    for found in (shown, listed):
        assert (found["currency"], found["amount_total"]) == ("EUR", 4298)
        assert found["items"] == [
            {"sku": "cable", "qty": 2, "unit_amount": 1999, "name": "Cable"},
            {"sku": "case", "qty": 1, "unit_amount": 300, "name": "Case"},
        ]


async def test_a_line_without_a_price_has_neither_amount_nor_name(served: Gateway) -> None:
    """And the order no total."""
    served.intake.prices = prices_of(None, None, 300)
    receipt = await (await served.post(BODY)).json()
    shown = await (await served.send("GET", "/orders/order123")).json()
    assert shown["items"][0] == {"sku": "cable", "qty": 2}
    assert shown["items"][1]["unit_amount"] == 300
    for found in (receipt, shown):
        assert found["currency"] == "EUR"
        assert "amount_total" not in found


async def test_an_unpriced_order_looks_as_it_ever_did(served: Gateway) -> None:
    """Neither null nor empty: the members are not there."""
    served.intake.prices = None
    receipt = orjson.loads(await (await served.post(BODY)).read())
    shown = orjson.loads(await (await served.send("GET", "/orders/order123")).read())
    assert set(receipt) == {"id", "status", "message", "links"}
    assert not {"currency", "amount_total"} & set(shown)
    assert shown["items"] == UNPRICED_ITEMS
