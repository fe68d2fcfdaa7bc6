"""What an operator types becomes the order that the gateway takes."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
import typer

from orderctl.commands import orders as commands
from orderctl.commands.orders import order_body
from orderctl.errors import OrderctlError
from orderctl.gateway_client import GatewayAnswer, GatewayClient


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
    monkeypatch.setattr(commands, "ask", lambda *_: (order, {}))
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


def told_at(second: int, event: str, status: str = "sent") -> dict[str, Any]:
    """What the ledger has of one notification."""
    at = f"2026-11-28T17:23:{second:02}Z"
    return {"event": event, "status": status, "unconfirmed": False, "at": at, "channel": "smtp"}


@pytest.mark.parametrize("ledger_answers", [True, False])
def test_an_order_is_shown_with_what_its_customer_was_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ledger_answers: bool
) -> None:
    """From the ledger, asked once, all of it; the record has the last, and knows what is under way."""
    last = {"channel": "smtp", "unconfirmed": False, "collected": False, "sending_at": None, "error": None}
    order = {
        "id": "order1",
        "status": "shipped",
        "items": [],
        "accepted_at": (datetime.now(UTC) - timedelta(hours=3)).isoformat(),
        "notifications": [
            {**last, "status": "sent", "sent_at": told_at(9, "")["at"]},
            {**last, "status": "sending", "sent_at": None, "error": "no route"},
        ],
    }
    history = {"notifications": [told_at(9, "order.shipped.v1"), told_at(4, "order.created.v1", "declined")]}
    asked: list[str] = []

    async def transport(_: str, target: str, *__: Any) -> tuple[int, dict[str, str], bytes]:
        asked.append(target)
        if target.startswith("/notifications"):
            return (200, {}, orjson.dumps(history)) if ledger_answers else (503, {"Retry-After": "9"}, b"")
        return 200, {}, orjson.dumps(order)

    client = GatewayClient(transport, "http://gateway", 5)
    monkeypatch.setattr(commands, "ask", lambda _url, _folder, question: asyncio.run(question(client)))
    commands.show("order1")
    assert asked == ["/orders/order1", "/notifications?order_id=order1"]
    lines = capsys.readouterr().out.splitlines()
    told = [line.removeprefix("told   ") for line in lines if line.startswith("told")]
    by_ledger = [
        "order.created.v1: declined, its customer wants no mail, at 2026-11-28T17:23:04Z",
        "order.shipped.v1: sent by smtp, at 2026-11-28T17:23:09Z",
    ]
    by_record = ["sent by smtp, at 2026-11-28T17:23:09Z"]
    assert told == [*(by_ledger if ledger_answers else by_record), "sending by smtp, no route"]
    assert any(line.startswith("since") and line.endswith(", 3h ago") for line in lines)


def test_a_list_says_when_each_order_was_accepted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In UTC, and how long ago; of an order that is yet to begin, in how long."""
    now = datetime.now(UTC)
    times = {
        "new": now - timedelta(seconds=200),
        "old": now - timedelta(days=40),
        "due": now + timedelta(2.1),
    }
    orders = [
        {"id": name, "status": "created", "items": [], "accepted_at": at.isoformat()}
        for name, at in times.items()
    ]
    monkeypatch.setattr(commands, "ask", lambda *_: {"orders": orders, "next_cursor": None})
    commands.list_orders()
    _, new, old, due = capsys.readouterr().out.splitlines()
    assert new.rstrip().endswith(f"{times['new']:%H:%M:%S}, 3m ago")
    assert old.rstrip().endswith(f"{times['old']:%Y-%m-%d}, 40d ago")
    assert due.rstrip().endswith(f"{times['due']:%Y-%m-%d}, in 2d")
