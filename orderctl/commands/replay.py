"""`orderctl replay`: what happened to orders, told to one consumer again."""

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orderctl.commands.options import AsJson, DataDir
from orderctl.errors import NotRunningError, OrderctlError, UsageError
from orderctl.modes import current_system
from orderctl.native.ports import REDIS
from orderctl.system import Mode, System
from orderctl.terminal import (
    EXIT_INTERRUPTED,
    err,
    out,
    print_json,
    progress_bar,
    readable_errors,
    say,
    shown,
)
from shared.keyspace import FOLLOWED
from shared.pipeline import CONSUMPTIONS, Consumption
from shared.urls import checked_broker_url, checked_database_url, checked_store_url

if TYPE_CHECKING:
    from orderctl.replay.sending import ReplayReport
    from orderctl.replay.session import Addresses, ReplayPlan

USUAL_RATE = 100.0


def _consumers(incomplete: str) -> list[str]:
    return [each.service for each in CONSUMPTIONS if each.service.startswith(incomplete)]


def replay(  # noqa: PLR0913, PLR0917 - one parameter per option of the command
    to: Annotated[
        str, typer.Option(metavar="CONSUMER", help=f"{', '.join(_consumers(''))}.", autocompletion=_consumers)
    ],
    since: Annotated[
        str | None, typer.Option(help="From then on: 15m, 2h, 3d, or 2030-01-31T09:00:00Z.")
    ] = None,
    from_id: Annotated[
        str | None, typer.Option(help="After that place, which a replay before has named.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Only what happened before that time.")] = None,
    order: Annotated[str | None, typer.Option(metavar="ID", help="Only what happened to this order.")] = None,
    rate: Annotated[float, typer.Option(min=0.1, max=10_000, help="Events per second.")] = USUAL_RATE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count which events it would be.")] = False,
    as_json: AsJson = False,
    redis_url: Annotated[
        str | None, typer.Option("--redis", help="The store, if not the one of this machine.")
    ] = None,
    brokers: Annotated[str | None, typer.Option("--rabbitmq", help="The brokers, beside --redis.")] = None,
    database: Annotated[str | None, typer.Option("--database", help="The ledger's, beside --redis.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Tell one consumer again what happened to orders.

    Each event goes to its queue alone, with the id that it had and marked as a replay. The shipped
    consumers do nothing twice. What the store has forgotten comes from the ledger. It may be broken off,
    and repeated.
    """
    with readable_errors(NotRunningError):
        from orderctl.replay.sending import ReplayReport

        plan = _plan(_consumption(to), since, from_id, until, order, rate)
        addresses = _addresses(redis_url, brokers, database, data_dir, publishes=not dry_run)
        report = ReplayReport(place=plan.begin)
        interrupted = False
        try:
            _run(addresses, plan, report, quiet=as_json)
        except KeyboardInterrupt:
            interrupted = True
        except OrderctlError as error:
            if report.place is None:
                raise
            raise OrderctlError(f"{error}; {_onward(report, plan, redis_url)}") from error
        if as_json:
            print_json(_summary(report))
        else:
            _show(report, to, dry_run=dry_run)
        if interrupted:
            err.print(shown(f"interrupted; {_onward(report, plan, redis_url)}", "yellow"))
            raise typer.Exit(EXIT_INTERRUPTED)


def _consumption(name: str) -> Consumption:
    found = next((each for each in CONSUMPTIONS if each.service == name), None)
    if found is None and name in FOLLOWED:
        raise UsageError(
            f"--to {name}: it follows the log of steps, and has no queue. The ledger is told anew by "
            "orderctl ledger rebuild; a webhook by POST /webhooks/{id}/resend, with a number, or what failed "
            "by POST /webhooks/{id}/recover, with a time"
        )
    if found is None:
        raise UsageError(f"--to {name}: no consumer is called so; there are {', '.join(_consumers(''))}")
    return found


def _plan(
    consumption: Consumption,
    since: str | None,
    from_id: str | None,
    until: str | None,
    order: str | None,
    rate: float,
) -> "ReplayPlan":
    from orderctl.log_lines import moment
    from orderctl.replay.history import FOREVER, WantedSteps, read_place
    from orderctl.replay.sending import steps_for
    from orderctl.replay.session import ReplayPlan
    from shared.messages import epoch_microseconds, is_identifier

    if not (since or from_id or order):
        raise UsageError("say from when on: --since 2h, --from-id PLACE, or one order: --order ID")
    if order is not None and (from_id or not is_identifier(order)):
        raise UsageError(f"--order {order}: must be an order's id, without --from-id")
    now = datetime.now(UTC)
    span = WantedSteps(
        types=steps_for(consumption),
        since=epoch_microseconds(moment(since, now)) if since else 0,
        until=epoch_microseconds(moment(until, now, "--until")) if until else FOREVER,
    )
    if span.until <= span.since:
        raise UsageError(f"--until {until} is before --since {since}")
    begin = read_place(from_id) if from_id else None
    return ReplayPlan(consumption=consumption, span=span, begin=begin, order_id=order, per_second=rate)


def _brokers_of(system: System, store_url: str) -> list[str]:
    status = system.status()
    if status.mode is Mode.EMBEDDED:
        return [store_url]
    urls = [node.amqp_url for node in status.rabbitmq if node.running and node.amqp_url]
    if not urls:
        raise NotRunningError("no broker runs that takes messages from here", advice="orderctl status")
    return urls


def _addresses(
    redis_url: str | None, brokers: str | None, database: str | None, data_dir: Any, *, publishes: bool
) -> "Addresses":
    from orderctl.replay.session import Addresses

    if redis_url is not None:
        if publishes and not brokers:
            raise UsageError("--redis: name the brokers beside it, with --rabbitmq")
        given = brokers.split(",") if brokers else []
        _check("--redis", checked_store_url, redis_url)
        _check("--rabbitmq", checked_broker_url, *given)
        _check("--database", checked_database_url, *([] if database is None else [database]))
        return Addresses(redis=redis_url, brokers=given if publishes else [], ledger=database)
    if brokers is not None or database is not None:
        raise UsageError("--rabbitmq and --database go beside --redis: name the store as well")
    system = current_system(data_dir)
    store = system.url(REDIS)
    urls = _brokers_of(system, store) if publishes else []
    try:
        ledger = system.database_url("ledger")
    except NotRunningError:
        ledger = None
    return Addresses(redis=store, brokers=urls, ledger=ledger)


def _check(option: str, check: Callable[[str], str], *urls: str) -> None:
    for url in urls:
        try:
            check(url)
        except ValueError as error:
            raise UsageError(f"{option}: {error}") from error


@contextlib.contextmanager
def _errors_apart() -> Iterator[None]:
    """Has what is used here log on stderr, and errors alone: what is printed may be read by scripts."""
    import structlog

    from shared.logs import SILENT_LIBRARIES

    for name in SILENT_LIBRARIES:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        structlog.configure(**before)


def _run(addresses: "Addresses", plan: "ReplayPlan", report: "ReplayReport", *, quiet: bool) -> None:
    from orderctl.replay.history import written_place
    from orderctl.replay.session import replay as send

    with _errors_apart(), progress_bar("telling again", quiet=quiet, stays=True) as update:

        def advanced() -> None:
            place = f"up to {written_place(report.place)}" if report.place else ""
            update(completed=report.sent.total(), seen=place)

        asyncio.run(send(addresses, plan, report, advanced))


def _show(report: "ReplayReport", to: str, *, dry_run: bool) -> None:
    from orderctl.replay.history import written_place
    from orderctl.terminal import listing

    table = listing("event", "would be sent" if dry_run else f"sent to {to}")
    for event, count in sorted(report.sent.items()):
        table.add_row(event, f"{count:,}")
    if report.sent:
        out.print(table)
    else:
        say("nothing of which it hears happened then")
    if report.from_ledger:
        say(f"{report.from_ledger:,} of them from the ledger, which keeps no e-mail addresses")
    if report.lost:
        say(f"{report.lost:,} could not be told again: their orders are not kept any more", "yellow")
    if report.place:
        say(f"up to {written_place(report.place)}")


def _onward(report: "ReplayReport", plan: "ReplayPlan", redis_url: str | None) -> str:
    """How to go on. Addresses are not repeated, since they may hold passwords; without them the command would
    speak to this machine's own system.
    """
    from orderctl.replay.history import FOREVER, written_place
    from shared.messages import event_time

    if report.place is None:
        return "nothing was confirmed yet: start again; what comes twice has the same id"
    words = ["--to", plan.consumption.service, "--from-id", written_place(report.place)]
    if plan.span.until != FOREVER:
        words += ["--until", event_time(plan.span.until).isoformat().replace("+00:00", "Z")]
    if plan.per_second != USUAL_RATE:
        words += ["--rate", f"{plan.per_second:g}"]
    there = "" if redis_url is None else "; add the same --redis, --rabbitmq and --database"
    return f"go on with: orderctl replay {' '.join(words)}{there}"


def _summary(report: "ReplayReport") -> dict[str, Any]:
    from orderctl.replay.history import written_place

    return {
        "sent": dict(sorted(report.sent.items())),
        "from_ledger": report.from_ledger,
        "lost": report.lost,
        "place": written_place(report.place) if report.place else None,
    }
