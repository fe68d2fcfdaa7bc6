"""`up` and `down`: the whole system at once."""

import time
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.text import Text

from orderctl.checklist import Checklist
from orderctl.commands.options import DataDir
from orderctl.docker import DEFAULT_PASSWORD
from orderctl.errors import OrderctlError
from orderctl.exposure import ADVICE
from orderctl.modes import current_system, forget, system_to_bring_up
from orderctl.operator_secret import settle_operator_secret
from orderctl.system import Mode, SystemStatus
from orderctl.terminal import out, readable_errors, say, shown

EXAMPLE_ORDER = '{"id":"order123","sku":"mag-safe-phone-case","qty":2}'


def up(
    mode: Annotated[
        Mode, typer.Option(help="How to run it; auto takes the best that this machine offers.")
    ] = Mode.AUTO,
    edge: Annotated[
        bool, typer.Option("--edge", help="Put nginx in front of the gateway: HTTPS, HTTP/2 and limits.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Start whatever is missing, and return when the pipeline takes orders."""
    with readable_errors():
        began = time.monotonic()
        system = system_to_bring_up(mode, data_dir)
        if fault := system.exposure():
            raise OrderctlError(fault, advice=ADVICE)
        settle_operator_secret(system.layout)
        with Checklist(out).shown() as checklist:
            system.up(checklist)
            edge_url = system.up_edge(checklist) if edge else None
        show_welcome(system.status(), time.monotonic() - began, edge_url)


def down(
    wipe: Annotated[bool, typer.Option("--wipe", help="Remove all data too.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Stop everything that was started here, and nothing else. Data stays unless --wipe is given."""
    with readable_errors():
        began = time.monotonic()
        system = current_system(data_dir)
        with Checklist(out).shown() as checklist:
            system.down(wipe=wipe, progress=checklist)
        if wipe:
            forget(data_dir)
            what = "data removed"
        elif system.keeps_data:
            what = "data kept; orderctl up continues with it"
        else:
            what = "nothing was kept: embedded mode holds everything in memory"
        out.print(Text.assemble(("down", "green"), f" in {time.monotonic() - began:.1f} s; ", shown(what)))


def show_welcome(status: SystemStatus, seconds: float, edge_url: str | None = None) -> None:
    """The addresses, and a line to paste."""
    gateway = status.service("api_gateway")
    dashboard = status.service("dashboard")
    heading = ("The pipeline takes orders", "bold green")
    out.print(Text.assemble("\n", heading, f" (mode {status.mode}, {seconds:.1f} s)\n"))
    rows = [("shop", f"{gateway.url}/shop"), ("dashboard", f"{dashboard.url}/")]
    rows += [("edge", f"{edge_url}/shop")] if edge_url else []
    rows += [("orders", f"{gateway.url}/orders"), ("API documentation", f"{gateway.url}/docs")]
    rows.append(("dashboard metrics", f"{dashboard.url}/metrics"))
    rows += [(f"{service.name} metrics", f"{service.ops_url}/metrics") for service in status.services[:-1]]
    rows += [
        ("RabbitMQ management", _without_credentials(node.management_url))
        for node in status.rabbitmq[:1]
        if node.management_url
    ]
    store = urlsplit(status.redis.url)
    rows.append(("Redis", f"redis://{store.hostname}:{store.port}/  (orderctl redis)"))
    for name, url in rows:
        out.print(Text(f"  {name:<24}{url}"))
    out.print("\nTry it:\n")
    say("  orderctl sample     (users, products and orders to look at; the shop then has something to sell)")
    say("  orderctl inventory set mag-safe-phone-case 100")
    out.print(
        Text(
            f"  curl -i -X POST {gateway.url}/orders -H 'Content-Type: application/json' -d '{EXAMPLE_ORDER}'"
        )
    )
    out.print(Text(f"  curl '{dashboard.url}/metrics?sku=mag-safe-phone-case&order_id=order123'\n"))


def _without_credentials(url: str) -> str:
    """The address, and who may enter; a password that is one is not shown."""
    parts = urlsplit(url)
    known = parts.password if parts.password == DEFAULT_PASSWORD else "its password: orderctl status --json"
    return f"{parts.scheme}://{parts.hostname}:{parts.port}/  ({parts.username}, {known})"
