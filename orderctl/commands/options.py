"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from orderctl.native.layout import DATA_DIR_VARIABLE

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar=DATA_DIR_VARIABLE,
        help="Where everything of this system lives (.data/MODE in the checkout).",
        show_default=False,
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
