"""`orderctl inventory`: the stock, as an operator sets and sees it."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from orderctl.commands.options import AsJson, DataDir, GatewayUrl
from orderctl.gateway_client import GatewayClient, ask
from orderctl.terminal import listing, out, print_json, readable_errors, say, shown

app = typer.Typer(add_completion=False, help="Set and see the stock.", no_args_is_help=True)


@app.command("set")
def set_stock(
    sku: Annotated[str, typer.Argument(help="Which product.")],
    qty: Annotated[int, typer.Argument(min=0, help="How many are available from now on.")],
    url: GatewayUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Make QTY the available stock of SKU, whether it was known before or not."""
    with readable_errors():
        ask(url, data_dir, lambda client: client.set_stock(sku, qty))
        say(f"{sku}: {qty} available")


@app.command("list")
def list_stock(as_json: AsJson = False, url: GatewayUrl = None, data_dir: DataDir = None) -> None:
    """Show what is available of every SKU."""
    with readable_errors():
        stock = ask(url, data_dir, _every_page)
        if as_json:
            print_json({"inventory": stock})
            return
        table = listing("sku", "available")
        table.columns[1].justify = "right"
        for entry in stock:
            available = entry["available"]
            table.add_row(entry["sku"], "not a number" if available is None else str(available))
        out.print(table if stock else shown("no stock yet: orderctl inventory set SKU QTY"))


async def _every_page(client: GatewayClient) -> Sequence[Mapping[str, Any]]:
    stock: list[Mapping[str, Any]] = []
    cursor = None
    while True:
        page = await client.get("/inventory", limit=200, cursor=cursor)
        stock += page["inventory"]
        cursor = page["next_cursor"]
        if cursor is None:
            return stock
