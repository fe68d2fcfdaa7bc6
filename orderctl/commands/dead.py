"""`orderctl dead`: look into the dead letters, send them back, or drop them."""

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import Signature, signature
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.text import Text

from orderctl.commands.options import AsJson, DataDir
from orderctl.dead_letters import dead_letters
from orderctl.dead_view import amount, in_full, overview, show_results, trail, warn_if_incomplete
from orderctl.errors import OrderctlError
from orderctl.terminal import (
    EXIT_FAILED,
    EXIT_USAGE,
    out,
    print_json,
    progress_bar,
    readable_errors,
    show_error,
)
from shared.http.strict_json import NotStrictJson, parse
from shared.pipeline import CONSUMPTIONS

app = typer.Typer(
    add_completion=False, help="Look into dead letters, send them back, or drop them.", no_args_is_help=True
)

Command = Callable[..., Any]
DashboardUrl = Annotated[
    str | None,
    typer.Option(
        "--url",
        help="The dashboard, if not this machine's (ORDERCTL_DASHBOARD_URL).",
        show_default=False,
    ),
]
Ids = Annotated[
    list[str] | None, typer.Argument(metavar="ID", help="Letters, or their orders.", show_default=False)
]
All = Annotated[bool, typer.Option("--all", help="All letters that the other options mean.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show which letters it would be.")]
Limit = Annotated[int | None, typer.Option(min=1, help="So many at most.", show_default=False)]
Reason = Annotated[str | None, typer.Option(help="Only those that died for this reason.", show_default=False)]
Sku = Annotated[str | None, typer.Option(help="Only those whose order wants this SKU.", show_default=False)]
OlderThan = Annotated[
    str | None, typer.Option(help="Only those that died longer ago: 90s, 15m, 2h, 3d.", show_default=False)
]
YoungerThan = Annotated[
    str | None, typer.Option(help="Only those that died less long ago.", show_default=False)
]
Queue = Annotated[
    str | None,
    typer.Option(help=f"{', '.join(each.dead_queue for each in CONSUMPTIONS)}.", show_default=False),
]


def _with_options_of(source: Command) -> Callable[[Command], Command]:
    """Gives a command the options of ``source``, before its own, and what that makes of them as its first
    parameter.
    """

    def decorated(command: Command) -> Command:
        theirs = signature(source).parameters
        own = list(signature(command).parameters.values())[1:]

        @wraps(command)
        def with_options(**given: Any) -> Any:
            return command(source(**{name: given.pop(name) for name in theirs}), **given)

        with_options.__signature__ = Signature([*theirs.values(), *own])  # type: ignore[attr-defined]  # PEP 362
        return with_options

    return decorated


def _filters(
    reason: Reason = None,
    sku: Sku = None,
    older_than: OlderThan = None,
    younger_than: YoungerThan = None,
    queue: Queue = None,
) -> dict[str, Any]:
    return _given(reason=reason, sku=sku, older_than=older_than, younger_than=younger_than, queue=queue)


@_with_options_of(_filters)
def _meant(
    filters: Mapping[str, Any],
    ids: Ids = None,
    everything: All = False,
    limit: Limit = None,
    dry_run: DryRun = False,
) -> dict[str, Any]:
    """The letters that are to be acted on, as the dashboard is told."""
    if bool(ids) == everything:
        show_error(OrderctlError("say which letters: their IDs, or --all, which other options narrow"))
        raise typer.Exit(EXIT_USAGE)
    meant: dict[str, Any] = {"all": True} if everything else {"ids": ids}
    return meant | dict(filters) | _given(limit=limit) | {"dry_run": dry_run}


@app.command("list")
@_with_options_of(_filters)
def list_letters(
    query: Mapping[str, Any],
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many.")] = 50,
    as_json: AsJson = False,
    url: DashboardUrl = None,
    data_dir: DataDir = None,
) -> None:
    """List dead letters, in the order in which they lie. Looking changes nothing."""
    with readable_errors():
        found = dead_letters(url, data_dir).find({**query, "limit": limit})
        if as_json:
            print_json(found)
            return
        none = "no dead letters like that" if query else "no dead letters"
        out.print(overview(found["letters"]) if found["letters"] else none)
        counts = ", ".join(f"{count} in {name}" for name, count in found["queues"].items())
        out.print(Text(f"all in all: {counts}", style="dim"))
        if found["more"]:
            out.print(Text("there are more: --limit", style="dim"))
        warn_if_incomplete(found)


@app.command()
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="Which letter, or whose order.")],
    as_json: AsJson = False,
    url: DashboardUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Show everything that is known of one dead letter."""
    with readable_errors():
        letter = dead_letters(url, data_dir).show(letter_id)
        if as_json:
            print_json(letter)
            return
        out.print(in_full(letter))


@app.command()
@_with_options_of(_meant)
def redrive(
    meant: Mapping[str, Any],
    corrected: Annotated[
        typer.FileBinaryRead | None,
        typer.Option(
            "--body", help="JSON to send instead of the letter's own body, of one ID.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
    url: DashboardUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Send letters back to their consumer. It has its effect at most once, however often it is asked."""
    with readable_errors():
        body = {} if corrected is None else {"body": _json_of(corrected.read())}
        _act("redrive", {**meant, **body}, url, data_dir, as_json=as_json)


@app.command()
@_with_options_of(_meant)
def drop(
    meant: Mapping[str, Any],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before dropping --all.")] = False,
    as_json: AsJson = False,
    url: DashboardUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Give letters up for good. Their orders end as rejected, reason dropped, and the customers are told."""
    with readable_errors():
        if meant.get("all") and not meant["dry_run"] and not yes:
            _confirm(meant, url, data_dir)
        _act("drop", meant, url, data_dir, as_json=as_json)


@app.command()
def audit(
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many.")] = 50,
    as_json: AsJson = False,
    url: DashboardUrl = None,
    data_dir: DataDir = None,
) -> None:
    """List what was done to dead letters, and by whom, the newest first."""
    with readable_errors():
        done = dead_letters(url, data_dir).audit(limit)
        if as_json:
            print_json(done)
            return
        out.print(trail(done["audit"]) if done["audit"] else "nothing was done to any dead letter")


def _json_of(content: bytes) -> Any:
    """As strictly as the dashboard reads it: what is lost on the way there it cannot see."""
    try:
        found = parse(content)
        orjson.dumps(found)
    except (NotStrictJson, orjson.JSONEncodeError) as error:
        raise OrderctlError(f"what --body names is no JSON: {error}") from error
    return found


def _given(**filters: str | int | None) -> dict[str, Any]:
    return {name: value for name, value in filters.items() if value is not None}


def _confirm(body: Mapping[str, Any], url: str | None, data_dir: Path | None) -> None:
    found = dead_letters(url, data_dir).act("drop", {**body, "dry_run": True})
    letters = amount(found["matched"])
    if not found["matched"]:
        return
    if not out.is_terminal:
        raise OrderctlError(f"this would drop {letters} for good: say --yes to do it")
    typer.confirm(f"Drop {letters} for good? Undecided orders end as rejected", abort=True)


def _act(
    action: str, body: Mapping[str, Any], url: str | None, data_dir: Path | None, *, as_json: bool
) -> None:
    results: list[Mapping[str, Any]] = []
    with progress_bar(action, quiet=as_json) as update:
        waiting = 0

        def on_line(line: Mapping[str, Any]) -> None:
            nonlocal waiting
            if "letter" in line:
                results.append(line["letter"])
                update(completed=len(results))
            elif "waiting" in line:
                waiting += line["waiting"]
                update(total=waiting)

        summary = dead_letters(url, data_dir).act(action, body, on_line)
    if as_json:
        print_json({**summary, "letters": results})
    else:
        show_results(summary, results)
    if summary["failed"] or summary["fault"]:
        raise typer.Exit(EXIT_FAILED)
