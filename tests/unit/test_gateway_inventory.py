"""Stock over HTTP, for operators."""

from collections.abc import AsyncIterator

import pytest
import structlog
from structlog.testing import capture_logs

from api_gateway.ports import BrokenStock, StockHeld, StockWouldOverflow, TooManySkus
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
        "inventory": [{"sku": "broken", "available": None}, {"sku": "cable", "available": 5}],
        "next_cursor": None,
    }


async def test_following_the_cursor_shows_every_sku_once(served: Gateway) -> None:
    """Fifty at a time where nothing is said, 200 at most."""
    served.stock.stock = {f"sku{number:03}": number for number in range(120)}
    seen: list[str] = []
    path, pages = "/inventory", 0
    while path:
        listed = await (await served.send("GET", path)).json()
        seen += [entry["sku"] for entry in listed["inventory"]]
        cursor, pages = listed["next_cursor"], pages + 1
        path = f"/inventory?cursor={cursor}" if cursor else ""
    assert (seen, pages) == ([f"sku{number:03}" for number in range(120)], 3)
    assert len((await (await served.send("GET", "/inventory?limit=200")).json())["inventory"]) == 120


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "limit=x", "cursor=", "cursor=_", "cursor=LWE", "cursor=w6Q", "sku=cable"],
)
async def test_a_wrong_parameter_is_400_and_named(served: Gateway, query: str) -> None:
    """By the same rules as in the list of orders."""
    problem = await problem_of(await served.send("GET", f"/inventory?{query}"))
    assert (problem["status"], problem["errors"][0]["field"]) == (400, query.partition("=")[0])


async def test_a_sku_is_removed_once(served: Gateway) -> None:
    """404 afterwards, and for a SKU that could not be."""
    removed = await served.send("DELETE", "/inventory/cable")
    assert (removed.status, await removed.read()) == (204, b"")
    for sku in ("cable", "unknown", "a%20b"):
        assert (await problem_of(await served.send("DELETE", f"/inventory/{sku}")))["status"] == 404


async def test_a_sku_that_orders_hold_is_not_removed(served: Gateway) -> None:
    """409, with how many pieces they hold."""
    served.stock.fault = StockHeld(12)
    problem = await problem_of(await served.send("DELETE", "/inventory/cable"))
    assert (problem["status"], problem["type"]) == (409, "/problems/stock-held")
    assert "12 pieces" in problem["detail"]


async def test_a_sku_too_many_is_refused(served: Gateway) -> None:
    """The store is bounded by this, and says so."""
    served.stock.fault = TooManySkus("new")
    problem = await problem_of(await served.send("PUT", "/inventory/new", '{"available": 1}'))
    assert (problem["status"], problem["type"]) == (409, "/problems/too-many-skus")


async def test_each_change_has_an_audit_line(served: Gateway) -> None:
    """What was changed, to what, by which address, under which correlation id; a refused one has none."""
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        await served.send("PUT", "/inventory/cable", '{"available": 7}', X_Correlation_ID="c1")
        await served.send("PATCH", "/inventory/cable", '{"delta": -2}', X_Correlation_ID="c2")
        await served.send("PATCH", "/inventory/cable", '{"delta": -20}', X_Correlation_ID="c3")
        await served.send("DELETE", "/inventory/cable", X_Correlation_ID="c4")
    audited = [line for line in lines if line["event"] == "stock changed"]
    assert [(line["correlation_id"], line["action"], line.get("available")) for line in audited] == [
        ("c1", "set", 7),
        ("c2", "adjust", 5),
        ("c4", "remove", None),
    ]
    assert {(line["sku"], line["by"]) for line in audited} == {("cable", "127.0.0.1")}


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
