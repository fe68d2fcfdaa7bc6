"""Stock over HTTP, for operators."""

from collections.abc import AsyncIterator

import pytest

from api_gateway.ports import BrokenStock, StockWouldOverflow
from shared.errors import StoreUnavailable
from tests.harness.http_gateway import Gateway, gateway, problem_of


@pytest.fixture
async def served() -> AsyncIterator[Gateway]:
    """A gateway with two SKUs, one of them broken."""
    async with gateway() as running:
        running.stock.stock = {"cable": 5, "broken": None}
        yield running


async def test_stock_is_listed_by_sku(served: Gateway) -> None:
    """Null for a value that is no number, so that it is seen."""
    answer = await served.send("GET", "/inventory")
    assert await answer.json() == {
        "inventory": [{"sku": "broken", "available": None}, {"sku": "cable", "available": 5}]
    }


async def test_the_stock_of_one_sku(served: Gateway) -> None:
    """404 where it is unknown, or no number."""
    assert await (await served.send("GET", "/inventory/cable")).json() == {"sku": "cable", "available": 5}
    for sku in ("unknown", "broken"):
        assert (await problem_of(await served.send("GET", f"/inventory/{sku}")))["status"] == 404


async def test_setting_creates(served: Gateway) -> None:
    """And answers with what is available now."""
    for pieces in (100, 0, 10**12):
        answer = await served.send("PUT", "/inventory/new", f'{{"available": {pieces}}}')
        assert (answer.status, await answer.json()) == (200, {"sku": "new", "available": pieces})


async def test_changing_adds(served: Gateway) -> None:
    """In both directions, down to zero."""
    assert await (await served.send("PATCH", "/inventory/cable", '{"delta": 3}')).json() == {
        "sku": "cable",
        "available": 8,
    }
    assert (await served.send("PATCH", "/inventory/cable", '{"delta": -8}')).status == 200
    refused = await served.send("PATCH", "/inventory/cable", '{"delta": -1}')
    assert (await problem_of(refused))["type"] == "/problems/stock-out-of-bounds"
    assert refused.status == 409


async def test_an_unknown_sku_is_not_changed(served: Gateway) -> None:
    """404, also for one that could not be."""
    for sku in ("unknown", "a%20b", "-a"):
        assert (await served.send("PATCH", f"/inventory/{sku}", '{"delta": 1}')).status == 404


async def test_an_impossible_sku_is_not_created(served: Gateway) -> None:
    """422 that names it."""
    for sku in ("a%20b", "-a", "a%0a", "a" * 65):
        problem = await problem_of(await served.send("PUT", f"/inventory/{sku}", '{"available": 1}'))
        assert (problem["status"], [error["field"] for error in problem["errors"]]) == (422, ["sku"])


WRONG = ["true", "1.5", '"1"', "null", "[]", str(10**12 + 1), str(2**64 - 1)]


@pytest.mark.parametrize("value", [*WRONG, "-1"])
async def test_what_is_no_stock_is_422(served: Gateway, value: str) -> None:
    """A whole number from 0 to 10**12."""
    answer = await served.send("PUT", "/inventory/cable", f'{{"available": {value}}}')
    problem = await problem_of(answer)
    assert (answer.status, [error["field"] for error in problem["errors"]]) == (422, ["available"])
    assert served.stock.stock["cable"] == 5


@pytest.mark.parametrize("value", [*WRONG, "0", "-0", str(-(10**12) - 1)])
async def test_what_is_no_change_is_422(served: Gateway, value: str) -> None:
    """A whole number within 10**12 of zero, and not zero."""
    answer = await served.send("PATCH", "/inventory/cable", f'{{"delta": {value}}}')
    problem = await problem_of(answer)
    assert (answer.status, [error["field"] for error in problem["errors"]]) == (422, ["delta"])


@pytest.mark.parametrize(("method", "field"), [("PUT", "available"), ("PATCH", "delta")])
async def test_bodies_follow_the_rules_for_orders(served: Gateway, method: str, field: str) -> None:
    """The same strict JSON, with the same answers."""
    cases: list[tuple[bytes, int]] = [
        (b"", 400),
        (f'{{"{field}": 1, "{field}": 2}}'.encode(), 400),
        (f'{{"{field}": NaN}}'.encode(), 400),
        (b"[]", 422),
        (b"{}", 422),
        (f'{{"{field}": 1, "sku": "cable"}}'.encode(), 422),
        (b" " * 65_537, 413),
    ]
    for body, status in cases:
        answer = await served.send(method, "/inventory/cable", body)
        assert answer.status == status
        await problem_of(answer)
    assert (await served.send(method, "/inventory/cable", "{}", Content_Type="text/plain")).status == 415
    assert served.stock.stock["cable"] == 5


@pytest.mark.parametrize(
    ("fault", "status"),
    [(BrokenStock("x"), 409), (StockWouldOverflow("x"), 409), (StoreUnavailable("x"), 503)],
)
async def test_what_the_store_refuses(served: Gateway, fault: Exception, status: int) -> None:
    """Each refusal is a problem."""
    served.stock.fault = fault
    answer = await served.send("PATCH", "/inventory/cable", '{"delta": 1}')
    assert answer.status == status
    await problem_of(answer)


async def test_setting_with_broken_books_is_409(served: Gateway) -> None:
    """Nothing can be set while it cannot be booked."""
    served.stock.fault = BrokenStock("stock.supplied")
    assert (await served.send("PUT", "/inventory/cable", '{"available": 1}')).status == 409
