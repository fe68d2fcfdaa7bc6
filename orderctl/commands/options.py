"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from orderctl.hints import repeat_option
from orderctl.native.layout import DATA_DIR_VARIABLE


def _repeated_in_hints(
    context: typer.Context, parameter: typer.CallbackParam, value: Path | None
) -> Path | None:
    source = context.get_parameter_source(parameter.name or "")
    repeat_option(*(("--data-dir", str(value)) if source and source.name == "COMMANDLINE" else ()))
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
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]
