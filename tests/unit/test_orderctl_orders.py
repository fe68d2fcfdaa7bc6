"""What an operator types becomes the order that the gateway takes."""

import asyncio
from typing import Any

import pytest
import typer

from orderctl.commands import orders as commands
from orderctl.commands.orders import order_body
from orderctl.errors import OrderctlError
from orderctl.gateway_client import GatewayAnswer


def test_one_product_and_further_items_become_one_order() -> None:
    """The simple form and the items add up."""
    assert order_body("cable", 2, ["case=1", "stand=3"], "order1", "a@example.com") == {
        "id": "order1",
        "email": "a@example.com",
        "items": [{"sku": "cable", "qty": 2}, {"sku": "case", "qty": 1}, {"sku": "stand", "qty": 3}],
    }


def test_an_id_that_is_left_out_is_not_sent() -> None:
    """The server makes one up."""
    assert order_body("cable", 1, [], None, None) == {"items": [{"sku": "cable", "qty": 1}]}


@pytest.mark.parametrize("items", [[], ["cable"], ["cable=many"]])
def test_an_unclear_order_is_refused_before_it_is_sent(items: list[str]) -> None:
    """Nothing, or something that cannot be read, is no order."""
    with pytest.raises(OrderctlError, match="sku=qty"):
        order_body(None, 1, items, None, None)


def test_what_an_order_costs_is_shown_in_its_currencys_form(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line for each item with a price, and the sum."""
    order = {
        "id": "order1",
        "status": "created",
        "currency": "EUR",
        "amount_total": 4298,
        "items": [
            {"sku": "cable", "qty": 2, "unit_amount": 1999, "name": "USB cable"},
            {"sku": "case", "qty": 1, "unit_amount": 300, "name": ""},
            {"sku": "stand", "qty": 1},
        ],
    }
    page = {"orders": [order, {"id": "order2", "status": "created", "items": []}], "next_cursor": None}
    monkeypatch.setattr(commands, "ask", lambda *_: order)
    commands.show("order1")
    shown = capsys.readouterr().out
    assert "USB cable: 2 × 19.99 EUR = 39.98 EUR" in shown
    assert "case: 1 × 3.00 EUR = 3.00 EUR" in shown
    assert "amount 42.98 EUR" in shown
    assert "stand:" not in shown
    monkeypatch.setattr(commands, "ask", lambda *_: page)
    commands.list_orders()
    assert capsys.readouterr().out.count("42.98 EUR") == 1


def test_a_placed_order_says_what_it_costs_and_sends_what_is_expected(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Zero is an expectation too."""
    asked: list[dict[str, Any]] = []

    class Asked:
        async def place(self, order: dict[str, Any], *, idempotency_key: str | None) -> GatewayAnswer:
            asked.append(order)
            body = {"id": "order1", "currency": "JPY", "amount_total": 1999}
            return GatewayAnswer(status=202, body=body, seconds=0.0)

    monkeypatch.setattr(commands, "ask", lambda _url, _folder, question: asyncio.run(question(Asked())))
    commands.place(sku="cable", order_id="order1", currency="JPY", amount_total=0)
    assert asked == [
        {"id": "order1", "items": [{"sku": "cable", "qty": 1}], "currency": "JPY", "amount_total": 0}
    ]
    assert "it costs 1 999 JPY" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "to"),
    [
        (commands.cancel, "cancelled"),
        (commands.process, "processing"),
        (commands.ship, "shipped"),
        (commands.deliver, "delivered"),
    ],
)
def test_an_order_is_moved_by_a_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: Any, to: str
) -> None:
    """Asked under a key, so that asking again while the gateway is busy is one request."""
    asked: list[tuple[str, str, Any, Any]] = []

    class Client:
        async def send(self, method: str, path: str, *, body: Any, headers: Any) -> GatewayAnswer:
            asked.append((method, path, body, headers))
            return GatewayAnswer(status=200, body={"status": to}, seconds=0.0)

    monkeypatch.setattr(commands, "ask", lambda _, __, question: asyncio.run(question(Client())))
    command("order 1")
    ((method, path, body, headers),) = asked
    assert (method, path, body) == ("PATCH", "/orders/order%201/status", {"status": to})
    assert headers["Idempotency-Key"]
    assert capsys.readouterr().out == f"order 1 is {to}\n"


def test_a_move_that_is_refused_says_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the gateway's words, and the command fails."""
    problem = {
        "title": "The order cannot become that",
        "detail": "The order is shipped, and may become delivered.",
    }
    refused = GatewayAnswer(status=409, body=problem, seconds=0.0)
    monkeypatch.setattr(commands, "ask", lambda *_: refused)
    with pytest.raises(typer.Exit):
        commands.cancel("order1", reason="ordered twice")
    assert "The order is shipped, and may become delivered." in capsys.readouterr().err


def test_a_list_that_is_not_complete_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The ledger is away: what is old may be missing."""
    page: dict[str, Any] = {
        "orders": [],
        "next_cursor": None,
        "complete": False,
        "note": "Older orders may be missing.",
    }
    monkeypatch.setattr(commands, "ask", lambda *_: page)
    commands.list_orders()
    assert "Older orders may be missing." in capsys.readouterr().out
