"""`orderctl load`: many orders at once, and what became of them as far as their client can tell."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from orderctl.commands.options import AsJson, DataDir, GatewayUrl
from orderctl.gateway_client import GatewayAddress, by_hand, connect, gateway_of
from orderctl.ledger import LedgerWriter
from orderctl.load import LoadPlan, LoadReport, evenly, look_back, percentile, run_load
from orderctl.terminal import EXIT_FAILED, EXIT_INTERRUPTED, out, print_json, progress_bar, readable_errors
from shared.messages import OrderItem

MOST_LOOKED_AT = 2_000
DECIDED_SECONDS = 20.0
PERCENTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "max": 1.0}


def load(  # noqa: PLR0913, PLR0917 - one parameter per option of the command
    orders: Annotated[int, typer.Option(min=1, help="How many orders to place.")] = 1_000,
    concurrency: Annotated[int, typer.Option(min=1, max=1_000, help="How many at a time.")] = 32,
    sku: Annotated[list[str] | None, typer.Option(help="One item per order and SKU.")] = None,
    qty: Annotated[int, typer.Option(min=1, help="How many of each SKU.")] = 1,
    rate: Annotated[float | None, typer.Option(min=0.1, help="At most so many per second.")] = None,
    stock: Annotated[
        int | None, typer.Option(min=0, help="Make this the stock of each SKU first; else it stays as it is.")
    ] = None,
    ledger: Annotated[Path | None, typer.Option(help="Where to write what was acknowledged.")] = None,
    as_json: AsJson = False,
    url: GatewayUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Place orders with bounded concurrency, and see what became of them.

    Status 1 if any of them was refused for good. Orders for which there is no stock are taken, then rejected.
    """
    with readable_errors():
        items = tuple(OrderItem(sku=name, qty=qty) for name in sku or ["mag-safe-phone-case"])
        plan = LoadPlan(
            run_id=uuid.uuid4().hex[:8],
            orders=orders,
            concurrency=concurrency,
            items=items,
            rate_per_second=rate,
        )
        gateway = gateway_of(url, data_dir)
        if stock is not None:
            for item in items:
                asyncio.run(by_hand(gateway).set_stock(item.sku, stock))
        path = ledger or Path(f"ledger-{time.strftime('%Y%m%d-%H%M%S')}-{plan.run_id}.jsonl")
        report = LoadReport()
        interrupted = _run(gateway, plan, path, report, quiet=as_json)
        seen = [] if interrupted else evenly(report.acknowledged_ids, MOST_LOOKED_AT)
        became = asyncio.run(_look_back(gateway, plan, seen))
        if as_json:
            print_json(summary(plan, report, path) | {"looked_at": len(seen), "became": dict(became)})
        else:
            _show(plan, report, path, became)
        if interrupted:
            raise typer.Exit(EXIT_INTERRUPTED)
        if report.acknowledged < plan.orders:
            raise typer.Exit(EXIT_FAILED)


async def _look_back(gateway: GatewayAddress, plan: LoadPlan, order_ids: Sequence[str]) -> Counter[str]:
    async with connect(gateway, connections=plan.concurrency) as client:
        return await look_back(client, order_ids, plan.concurrency, DECIDED_SECONDS)


def summary(plan: LoadPlan, report: LoadReport, ledger: Path) -> dict[str, Any]:
    """The report for scripts; times in seconds."""
    latencies = sorted(report.latencies_seconds)
    return {
        "run_id": plan.run_id,
        "orders": plan.orders,
        "acknowledged": report.acknowledged,
        "refused": report.refused,
        "seconds": round(report.seconds, 3),
        "rate_per_second": round(report.rate_per_second, 1),
        "latency_seconds": {
            name: round(percentile(latencies, share), 4) for name, share in PERCENTILES.items()
        },
        "longest_gap_seconds": round(report.longest_gap_seconds, 3),
        "answers": dict(sorted(report.answers.items())),
        "ledger": str(ledger),
    }


def _run(gateway: GatewayAddress, plan: LoadPlan, path: Path, report: LoadReport, *, quiet: bool) -> bool:
    """Place the orders; True if the operator interrupted, in which case the report covers what was done."""
    with progress_bar("placing orders", quiet=quiet, stays=True) as update:
        update(total=plan.orders)

        def advanced() -> None:
            update(completed=report.finished, seen=_seen(report))

        try:
            asyncio.run(_place_all(gateway, plan, path, report, advanced))
        except KeyboardInterrupt:
            return True
    return False


async def _place_all(
    gateway: GatewayAddress, plan: LoadPlan, path: Path, report: LoadReport, advanced: Callable[[], None]
) -> None:
    with LedgerWriter(path) as ledger:
        async with connect(gateway, connections=plan.concurrency) as client:
            await run_load(client, plan, ledger, report, advanced)


def _seen(report: LoadReport) -> str:
    others = sum(times for answer, times in report.answers.items() if answer != "202")
    return f"{report.rate_per_second:,.0f}/s" + (f", {others} other answers" if others else "")


def _show(plan: LoadPlan, report: LoadReport, ledger: Path, became: Counter[str]) -> None:
    latencies = sorted(report.latencies_seconds)
    shown = "   ".join(
        f"{name} {percentile(latencies, share) * 1000:.1f} ms" for name, share in PERCENTILES.items()
    )
    answers = ", ".join(f"{answer} × {times}" for answer, times in sorted(report.answers.items()))
    table = Table.grid(padding=(0, 2))
    table.add_row("acknowledged", f"{report.acknowledged} of {plan.orders} in {report.seconds:.1f} s")
    looked_at = became.total()
    of_all = "" if looked_at == report.acknowledged else f" (of {looked_at:,} that were looked at)"
    table.add_row("became", ", ".join(f"{what} {times:,}" for what, times in became.most_common()) + of_all)
    table.add_row("rate", f"{report.rate_per_second:,.0f} orders/s")
    table.add_row("latency", shown)
    table.add_row("longest gap", f"{report.longest_gap_seconds * 1000:.0f} ms between two 202s")
    table.add_row("answers", answers or "none")
    table.add_row("ledger", Text(str(ledger)))
    out.print(table)
