"""`orderctl events`: everything that happens, as it happens."""

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import orjson
import typer
from rich.text import Text

from orderctl.commands.dead import DashboardUrl
from orderctl.commands.options import AsJson, DataDir
from orderctl.dead_letters import DeadLetterClient, dead_letters
from orderctl.terminal import out, readable_errors, shown

PAUSE_SECONDS: Final = 1.0
BEGINNING: Final = "0-0"
TRIMMED: Final = "the log was trimmed past what was seen last: what came between is not told"
_LOOKS: Final = {"system.degraded": "red", "system.recovered": "green", "reset": "yellow"}


def events(
    begin: Annotated[
        bool, typer.Option("--all", help="Begin with the oldest step that the log still has.")
    ] = False,
    _: Annotated[bool, typer.Option("--follow", "-f", hidden=True)] = True,
    as_json: AsJson = False,
    url: DashboardUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Follow every step of every order, and what goes wrong and right again. Ctrl-C ends it."""
    with readable_errors():
        client = dead_letters(url, data_dir)
        try:
            for event in _followed(client, BEGINNING if begin else ""):
                if as_json:
                    typer.echo(orjson.dumps(event).decode())
                else:
                    out.print(_line(event), soft_wrap=True)
        except KeyboardInterrupt:
            raise typer.Exit from None


def _followed(client: DeadLetterClient, last_id: str) -> Iterator[Mapping[str, Any]]:
    """The events, over as many connections as it takes once there was one."""
    has_begun = False
    while True:
        try:
            for event in client.events(last_id):
                has_begun = True
                last_id = event.get("id", last_id)
                if event.get("event") != "begin":
                    yield event
        except OSError as error:
            if not has_begun:
                raise client.silence(error) from error
        time.sleep(PAUSE_SECONDS)


def _line(event: Mapping[str, Any]) -> Text:
    """Times are in UTC."""
    data, name = event["data"], event.get("event", "")
    if name:
        told = shown(data.get("cause", TRIMMED))
        now = datetime.now(UTC).strftime("%H:%M:%S")
        return Text.assemble(f"{now}  ", (f"{name}  ", _LOOKS.get(name, "")), told)
    by = f"by {data['by']}" if data.get("by") else None
    more = "  ".join(filter(None, (data["step"], data.get("reason"), by)))
    return Text.assemble(f"{data['at'][11:19]}  ", shown(data["order_id"], "bold"), "  ", shown(more))
