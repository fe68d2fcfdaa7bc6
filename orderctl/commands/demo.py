"""`orderctl demo`: what the pipeline is for, in one minute."""

import asyncio
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.live import Live
from rich.text import Text

from orderctl.commands.options import DataDir
from orderctl.errors import OrderctlError
from orderctl.modes import current_system
from orderctl.system import SystemStatus
from orderctl.terminal import EXIT_FAILED, out, readable_errors, say

if TYPE_CHECKING:
    from orderctl.demonstration.director import DemoScript, Director
    from orderctl.verification.verification import Reconciliation

FRAMES_PER_SECOND = 8
LINES_EVERY_SECONDS = 2.0
CREATED_SHARE = 0.6
CONCURRENCY = 48


def demo(
    orders: Annotated[int, typer.Option(min=500, max=20_000, help="How many orders to place.")] = 4_000,
    rate: Annotated[float, typer.Option(min=20, max=2_000, help="How many of them per second.")] = 150.0,
    data_dir: DataDir = None,
) -> None:
    """Kill the broker that leads a queue under load, and prove that nothing was lost."""
    from orderctl.demonstration.director import Director
    from orderctl.demonstration.picture import summary
    from orderctl.gateway_client import gateway_of
    from orderctl.verification.report import render

    with readable_errors():
        system = current_system(data_dir)
        status = system.status()
        require_whole(status)
        with tempfile.TemporaryDirectory(prefix="orderctl-demo-") as folder:
            ledger = Path(folder) / "ledger.jsonl"
            director = Director(system, status, gateway_of(None, data_dir), script(orders, rate), ledger)
            out.print(Text("A load, a dead broker, and the proof. This takes about a minute.\n", style="dim"))
            asyncio.run(_shown(director))
            out.print(Text("What was seen", style="bold"))
            out.print(summary(director.chronicle))
            outcome = asyncio.run(_proof(status, ledger))
        out.print()
        say("orderctl verify", "bold")
        out.print(render(outcome))
        if not outcome.verdict.passed:
            raise typer.Exit(EXIT_FAILED)


def script(orders: int, rate: float) -> "DemoScript":
    """The kill comes after three tenths of the load, the way back after six."""
    from orderctl.demonstration.director import DemoScript
    from orderctl.load import LoadPlan
    from shared.messages import OrderItem

    run_id = uuid.uuid4().hex[:6]
    sku = f"demo-{run_id}"
    plan = LoadPlan(
        run_id=f"demo-{run_id}",
        orders=orders,
        concurrency=CONCURRENCY,
        items=(OrderItem(sku=sku, qty=1),),
        rate_per_second=rate,
    )
    seconds = orders / rate
    return DemoScript(
        plan=plan,
        sku=sku,
        stock=round(orders * CREATED_SHARE),
        kill_after=0.3 * seconds,
        start_after=0.6 * seconds,
    )


def require_whole(status: SystemStatus) -> None:
    """Raises OrderctlError unless every part runs: a demonstration should start from a healthy system."""
    up = "make up, or orderctl up"
    if not status.anything_runs:
        raise OrderctlError("nothing runs here yet", advice=up)
    if not any(node.management_url for node in status.rabbitmq):
        advice = "orderctl down, then orderctl up --mode native"
        raise OrderctlError(f"mode {status.mode} has no broker that could be killed", advice=advice)
    if status.missing:
        raise OrderctlError(f"not ready: {', '.join(status.missing)}", advice=up)


async def _shown(director: "Director") -> None:
    """Runs the demonstration under its picture, or with plain lines where there is no terminal."""
    from orderctl.demonstration.picture import picture

    running = asyncio.create_task(director.run())
    try:
        if not out.is_terminal:
            await _as_lines(director, running)
            return
        frame = lambda: picture(director.chronicle, director.now, out.width, "orderctl demo")  # noqa: E731 - Live asks
        with Live(get_renderable=frame, console=out, refresh_per_second=FRAMES_PER_SECOND):
            await running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _as_lines(director: "Director", running: "asyncio.Task[None]") -> None:
    from orderctl.demonstration.picture import line

    told = 0
    due = 0.0
    while not running.done():
        await asyncio.wait([running], timeout=0.2)
        for moment in director.chronicle.moments[told:]:
            out.print(Text(f"{moment.at:6.1f} s  {moment.text}"))
            told += 1
        if director.now >= due:
            out.print(Text(line(director.chronicle, director.now)))
            due = director.now + LINES_EVERY_SECONDS
    await running


async def _proof(status: SystemStatus, ledger: Path) -> "Reconciliation":
    from orderctl.brokers import management_urls
    from orderctl.verification.promises import read_promises
    from orderctl.verification.session import verify

    return await verify(
        status.redis.url,
        read_promises(ledger),
        management_urls=management_urls(status),
    )
