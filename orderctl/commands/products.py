"""`orderctl product`: what can be ordered and what it costs, as an operator sets and sees it."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from orderctl.commands.options import AsJson, DataDir, GatewayUrl
from orderctl.errors import OrderctlError
from orderctl.gateway_client import GatewayAnswer, GatewayClient, ask
from orderctl.terminal import listing, out, print_json, readable_errors, say
from shared.currencies import amount_of, written

app = typer.Typer(add_completion=False, help="Set and see products and prices.", no_args_is_help=True)


@app.command("set")
def set_product(
    sku: Annotated[str, typer.Argument(help="Which product.")],
    price: Annotated[str | None, typer.Option(help="What a piece costs, as in 19.99.")] = None,
    currency: Annotated[str | None, typer.Option(help="In which currency (ISO 4217), as in EUR.")] = None,
    name: Annotated[str | None, typer.Option(help="What it is called.")] = None,
    category: Annotated[str | None, typer.Option(help="Where it belongs.")] = None,
    description: Annotated[str | None, typer.Option(help="What else there is to say.")] = None,
    url: GatewayUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Add a product, or change what is named of one that there is."""
    texts = {"name": name, "category": category, "description": description}
    told = {field: text for field, text in texts.items() if text is not None}
    with readable_errors():
        product = ask(url, data_dir, lambda client: set_by(client, sku, price, currency, told))
        say(f"{product['sku']}: {written(product['unit_amount'], product['currency'])}  {product['name']}")


@app.command("list")
def list_products(
    category: Annotated[str | None, typer.Option(help="Only of this category.")] = None,
    query: Annotated[str | None, typer.Option("--search", help="Only those with these words.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Where the list before ended.")] = None,
    as_json: AsJson = False,
    url: GatewayUrl = None,
    data_dir: DataDir = None,
) -> None:
    """List products with their prices and stock."""
    wanted = {"category": category, "q": query, "limit": limit, "cursor": cursor}
    with readable_errors():
        page = ask(url, data_dir, lambda client: client.get("/products", **wanted))
        if as_json:
            print_json(page)
            return
        table = listing("sku", "name", "category", "price", "stock")
        for each in page["products"]:
            price, stock = written(each["unit_amount"], each["currency"]), each.get("stock")
            table.add_row(
                each["sku"], each["name"], each["category"], price, "" if stock is None else str(stock)
            )
        out.print(table if page["products"] else "no products")
        if page.get("note"):
            say(page["note"], "yellow")
        if page.get("next_cursor"):
            say(f"more with: orderctl product list --cursor {page['next_cursor']}", "dim")


async def set_by(
    client: GatewayClient, sku: str, price: str | None, currency: str | None, told: Mapping[str, str]
) -> Mapping[str, Any]:
    """The product as it stands then. One that appears or goes in between is an error, and nothing is done."""
    path = f"/products/{quote(sku, safe='')}"
    found = await client.send("GET", path)
    if found.status not in (200, 404):
        raise found.failure()
    product = found.body if found.status == 200 else None
    body = {**told, **_amounts(price, currency, product)}
    if product is not None:
        return _done(await client.send("PATCH", path, body=body))
    if missing := [name for name in ("name", "price", "currency") if _lacks(name, body)]:
        needed = " and ".join(f"--{name}" for name in missing)
        raise OrderctlError(f"there is no product {sku} yet; a new one needs {needed}")
    return _done(await client.send("POST", "/products", body={"sku": sku} | body))


def _lacks(option: str, body: Mapping[str, Any]) -> bool:
    return ("unit_amount" if option == "price" else option) not in body


def _amounts(price: str | None, currency: str | None, product: Mapping[str, Any] | None) -> dict[str, Any]:
    """What to send of a price: in whole units of the currency given, else of the product's."""
    if price is None:
        if currency is None or product is None or product["currency"] == currency:
            return {} if currency is None else {"currency": currency}
        raise OrderctlError(f"a price in {currency} is needed: --price")
    known = currency or (product or {}).get("currency")
    if known is None:
        raise OrderctlError("a price needs its currency: --currency")
    try:
        return {"unit_amount": amount_of(price, known), "currency": known}
    except ValueError as error:
        raise OrderctlError(f"--price {price}: {error}") from error


def _done(answer: GatewayAnswer) -> Mapping[str, Any]:
    if answer.status >= 300:
        raise answer.failure()
    return answer.body
