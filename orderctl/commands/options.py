"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from orderctl.hints import repeat_option, repeat_url
from orderctl.native.layout import DATA_DIR_VARIABLE
from orderctl.native.ports import NODE_NAMES, STORES
from shared.services import SERVICES


def _repeated_in_hints(
    context: typer.Context, parameter: typer.CallbackParam, value: Path | None
) -> Path | None:
    source = context.get_parameter_source(parameter.name or "")
    repeat_option(*(("--data-dir", str(value)) if source and source.name == "COMMANDLINE" else ()))
    return value


def _url_repeated_in_hints(value: str | None) -> str | None:
    repeat_url(*(("--url", value) if value else ()))
    return value


DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar=DATA_DIR_VARIABLE,
        help="Where everything of this system lives (.data/MODE in the checkout).",
        show_default=False,
        callback=_repeated_in_hints,
    ),
]
GatewayUrl = Annotated[
    str | None,
    typer.Option(
        "--url",
        help="The gateway, if not the one of this machine (ORDERCTL_GATEWAY_URL).",
        show_default=False,
        callback=_url_repeated_in_hints,
    ),
]


def _parts(incomplete: str) -> list[str]:
    return [part for part in (*NODE_NAMES, *STORES, *SERVICES) if part.startswith(incomplete)]


Part = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help=f"{', '.join((*NODE_NAMES, *STORES, *SERVICES))}.",
        show_default=False,
        autocompletion=_parts,
    ),
]
LoggedPart = Annotated[
    str | None,
    typer.Argument(metavar="[NAME]", help="All parts if left out.", autocompletion=_parts),
]
AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]
