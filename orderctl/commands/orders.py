"""`orderctl order`: place an order by hand, follow one, move it on, list them."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer
from rich.text import Text

from orderctl.commands.options import AsJson, DataDir, GatewayUrl
from orderctl.errors import OrderctlError
from orderctl.gateway_client import GatewayClient, ask
from orderctl.terminal import age, listing, out, print_json, readable_errors, say, shown
from shared.currencies import written
from shared.keyspace import NotificationStatus
from shared.orders.model import OrderStatus, Trouble

app = typer.Typer(add_completion=False, help="Place, show, move and list orders.", no_args_is_help=True)

_COLOURS: Mapping[str, str] = {
    OrderStatus.CREATED: "green",
    OrderStatus.REJECTED: "red",
    OrderStatus.DELIVERED: "green",
    OrderStatus.CANCELLED: "yellow",
    Trouble.RETRYING: "yellow",
    Trouble.DEAD: "red",
}
DECLINED: Final = "declined, its customer wants no mail"

OrderId = Annotated[str, typer.Argument(metavar="ID", help="Which order.")]
Reason = Annotated[str | None, typer.Option(help="Why, for its timeline and its customer.")]


@app.command()
def place(  # noqa: PLR0913, PLR0917 - one parameter per option of the command
    sku: Annotated[str | None, typer.Option(help="The one product of a simple order.")] = None,
    qty: Annotated[int, typer.Option(help="How many of --sku.")] = 1,
    item: Annotated[list[str] | None, typer.Option(help="sku=qty, as often as there are items.")] = None,
    order_id: Annotated[str | None, typer.Option("--id", help="Made up by the server if left out.")] = None,
    email: Annotated[str | None, typer.Option(help="Whom to tell.")] = None,
    currency: Annotated[str | None, typer.Option(help="The currency that is expected, as EUR.")] = None,
    amount_total: Annotated[
        int | None, typer.Option(help="What it is expected to cost, in the currency's smallest unit.")
    ] = None,
    not_before: Annotated[
        str | None, typer.Option(help="When it is to begin, as 2030-01-31T09:00:00Z; at once if left out.")
    ] = None,
    as_json: AsJson = False,
    url: GatewayUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Place one order. While it is refused for the moment, it is repeated under one id.

    At another price than expected nothing is accepted.
    """
    with readable_errors():
        order = order_body(sku, qty, item or [], order_id, email)
        expected = {"currency": currency, "amount_total": amount_total, "not_before": not_before}
        order |= {name: value for name, value in expected.items() if value is not None}
        key = None if order_id else str(uuid.uuid4())
        answer = ask(url, data_dir, lambda client: client.place(order, idempotency_key=key))
        if as_json:
            print_json(answer.body)
        if not answer.accepted:
            raise answer.failure()
        if not as_json:
            placed = str(answer.body.get("id") or order_id)
            say(f"Order received: {placed}")
            if cost := _cost(answer.body):
                say(f"it costs {cost}")
            if begins := answer.body.get("not_before"):
                say(f"it begins at {begins}")
            say(f"follow it with: orderctl order show {placed}", "dim")


@app.command()
def show(
    order_id: OrderId,
    as_json: AsJson = False,
    url: GatewayUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Show one order, what happened to it, and what its customer was told."""

    async def looked_up(client: GatewayClient) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        order = await client.get(f"/orders/{quote(order_id, safe='')}")
        wanted = not as_json
        return order, await client.get_at_once("/notifications", order_id=order_id) if wanted else {}

    with readable_errors():
        order, told = ask(url, data_dir, looked_up)
        if as_json:
            print_json(order)
        else:
            _show(order, told.get("notifications", ()))


@app.command()
def cancel(
    order_id: OrderId, reason: Reason = None, url: GatewayUrl = None, data_dir: DataDir = None
) -> None:
    """Cancel an order that is not shipped yet. Stock that it took is available again."""
    _move(order_id, OrderStatus.CANCELLED, reason, url, data_dir)


@app.command()
def process(order_id: OrderId, url: GatewayUrl = None, data_dir: DataDir = None) -> None:
    """Say that a created order is being prepared."""
    _move(order_id, OrderStatus.PROCESSING, None, url, data_dir)


@app.command()
def ship(order_id: OrderId, url: GatewayUrl = None, data_dir: DataDir = None) -> None:
    """Say that an order in preparation is on its way."""
    _move(order_id, OrderStatus.SHIPPED, None, url, data_dir)


@app.command()
def deliver(order_id: OrderId, url: GatewayUrl = None, data_dir: DataDir = None) -> None:
    """Say that a shipped order has arrived."""
    _move(order_id, OrderStatus.DELIVERED, None, url, data_dir)


@app.command("list")
def list_orders(
    status: Annotated[str | None, typer.Option(help="Only orders in this status.")] = None,
    trouble: Annotated[str | None, typer.Option(help="Only undecided orders in this trouble.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Where the list before ended.")] = None,
    as_json: AsJson = False,
    url: GatewayUrl = None,
    data_dir: DataDir = None,
) -> None:
    """List orders, newest first."""
    with readable_errors():
        page = ask(
            url,
            data_dir,
            lambda client: client.get("/orders", status=status, trouble=trouble, limit=limit, cursor=cursor),
        )
        if as_json:
            print_json(page)
            return
        table = listing("id", "status", "reason", "items", "amount", "accepted (UTC)")
        table.columns[-1].no_wrap = True
        table.columns[0].min_width = max((len(order["id"]) for order in page["orders"]), default=0)
        for order in page["orders"]:
            told = (_status(order), _reason(order), _items(order), _cost(order), _accepted(order))
            table.add_row(order["id"], *told)
        out.print(table if page["orders"] else "no orders")
        if page.get("note"):
            say(page["note"], "yellow")
        if page.get("next_cursor"):
            say(f"more with: orderctl order list --cursor {page['next_cursor']}", "dim")


def _move(order_id: str, to: OrderStatus, reason: str | None, url: str | None, data_dir: Path | None) -> None:
    """Asks until it is known what became of it; a key lets a repeated request have the first one's answer."""
    body = {"status": to.value} | ({"reason": reason} if reason else {})
    path, key = f"/orders/{quote(order_id, safe='')}/status", {"Idempotency-Key": str(uuid.uuid4())}
    with readable_errors():
        answer = ask(url, data_dir, lambda client: client.send("PATCH", path, body=body, headers=key))
        if answer.status != HTTPStatus.OK:
            raise answer.failure()
        say(f"{order_id} is {answer.body['status']}")


def order_body(
    sku: str | None, qty: int, items: list[str], order_id: str | None, email: str | None
) -> dict[str, Any]:
    """The order as the gateway takes it; raises OrderctlError for one without items, or with unclear ones."""
    listed = [{"sku": sku, "qty": qty}] if sku else []
    listed += [_item(text) for text in items]
    if not listed:
        raise OrderctlError("an order needs --sku, or at least one --item sku=qty")
    optional = {"id": order_id, "email": email}
    return {name: value for name, value in optional.items() if value is not None} | {"items": listed}


def _item(text: str) -> dict[str, Any]:
    sku, equals, qty = text.partition("=")
    if not equals or not qty.lstrip("-").isdecimal():
        raise OrderctlError(f"--item {text}: write it as sku=qty")
    return {"sku": sku, "qty": int(qty)}


def _show(order: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> None:
    """`history` is what the ledger knows the customer was told, newest first; the record has the last."""
    out.print(Text.assemble(shown(f"{order['id']}  "), _status(order), shown(f"  {_reason(order)}")))
    say(f"items  {_items(order)}")
    for item in order.get("items", ()):
        if priced := _priced(item, order):
            say(f"       {priced}")
    if cost := _cost(order):
        payment = order.get("payment")
        say(f"amount {cost}, payment {payment}" if payment else f"amount {cost}")
    if order.get("email"):
        say(f"email  {order['email']}")
    if order.get("not_before"):
        say(f"begins {order['not_before']}")
    if order["status"] != OrderStatus.SCHEDULED and (accepted := _accepted(order, in_full=True)):
        say(f"since  {accepted}")
    for sent in reversed(history):
        unconfirmed = ", unconfirmed" if sent["unconfirmed"] else ""
        say(f"told   {sent['event']}: {_how(sent)}{unconfirmed}, at {sent['at']}")
    known = {sent["at"] for sent in history}
    for told in order.get("notifications", ()):
        if told["sent_at"] not in known and not (history and _how(told) == _how(history[0]) == DECLINED):
            say(f"told   {_notification(told)}")
    table = listing("at", "step", "why and by whom")
    for column in table.columns[:2]:
        column.no_wrap = True
    for step in order.get("timeline", ()):
        table.add_row(step["at"], step["step"], _why(step))
    out.print(table)


def _accepted(order: Mapping[str, Any], *, in_full: bool = False) -> str:
    """When it was accepted, or is to begin: the time of a day ago or less, else the day; and how long ago."""
    if not order.get("accepted_at"):
        return ""
    at = datetime.fromisoformat(order["accepted_at"]).astimezone(UTC)
    ago = datetime.now(UTC) - at
    form = "%H:%M:%S" if abs(ago) < timedelta(days=1) else "%Y-%m-%d"
    return f"{order['accepted_at'] if in_full else at.strftime(form)}, {age(ago.total_seconds())}"


def _why(step: Mapping[str, Any]) -> str:
    attempts, by = step.get("attempts"), step.get("by")
    told = [step.get("reason"), attempts and f"attempts {attempts}", by and f"by {by}"]
    return ", ".join(str(each) for each in told if each)


def _status(order: Mapping[str, Any]) -> Text:
    status, trouble = str(order["status"]), str(order.get("trouble") or "")
    text = f"{status}, {trouble}" if trouble else status
    return shown(text, _COLOURS.get(trouble or status, "cyan"))


def _how(told: Mapping[str, Any]) -> str:
    if told["status"] == NotificationStatus.DECLINED:
        return DECLINED
    return f"{told['status']} by {told['channel']}" if told.get("channel") else str(told["status"])


def _notification(told: Mapping[str, Any]) -> str:
    parts = [_how(told)]
    parts += ["unconfirmed"] if told["unconfirmed"] else []
    parts += ["waits until its address may have another letter"] if told["collected"] else []
    parts += [f"at {told['sent_at']}"] if told["sent_at"] else []
    parts += [str(told["error"])] if told["error"] and not told["collected"] else []
    return ", ".join(parts)


def _reason(order: Mapping[str, Any]) -> str:
    reason, sku = order.get("reason") or "", order.get("sku")
    return f"{reason} ({sku})" if reason and sku else str(reason)


def _cost(order: Mapping[str, Any]) -> str:
    """What it costs in all, '' where that is not known."""
    currency, amount = order.get("currency"), order.get("amount_total")
    return written(amount, currency) if currency and amount is not None else ""


def _priced(item: Mapping[str, Any], order: Mapping[str, Any]) -> str:
    """What an item costs, '' where it has no price."""
    each, currency = item.get("unit_amount"), order.get("currency")
    if each is None or not currency:
        return ""
    name = item.get("name") or item["sku"]
    return f"{name}: {item['qty']} × {written(each, currency)} = {written(item['qty'] * each, currency)}"


def _items(order: Mapping[str, Any]) -> str:
    return ", ".join(f"{item['qty']} × {item['sku']}" for item in order.get("items", ()))
