"""`orderctl redis`: redis-cli as the operator, at the port that this system's store really has."""

import os
import shutil
from typing import Annotated

import typer

from orderctl.commands.options import DataDir
from orderctl.errors import OrderctlError
from orderctl.modes import current_system
from orderctl.native.ports import REDIS
from orderctl.terminal import readable_errors
from shared.services import CACHE


def redis(
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[ARGS]", show_default=False)] = None,
    cache: Annotated[bool, typer.Option("--cache", help="The cache, not the store.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Run redis-cli against the store of this system.

    With words such as GET orders.processed.count, or none for its prompt.
    """
    with readable_errors():
        command, environment = current_system(data_dir).redis_cli(CACHE if cache else REDIS, arguments or [])
        if shutil.which(command[0]) is None:
            raise OrderctlError(f"{command[0]} is not installed", advice="install the package redis-tools")
        os.execvpe(command[0], command, environment)  # noqa: S606 - the operator's own words


redis.context_settings = {"ignore_unknown_options": True}  # type: ignore[attr-defined]  # for the table of commands
