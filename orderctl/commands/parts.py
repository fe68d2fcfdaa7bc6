"""`kill`, `stop` and `start`: break one part and bring it back."""

from typing import Annotated

import typer

from orderctl.commands.options import DataDir
from orderctl.modes import current_system
from orderctl.native.ports import NODE_NAMES, STORES
from orderctl.terminal import readable_errors, say
from shared.services import SERVICES

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help=f"{', '.join((*NODE_NAMES, *STORES, *SERVICES))}.",
        show_default=False,
    ),
]


def kill(name: Name, data_dir: DataDir = None) -> None:
    """End one part as a crash would. A service comes back by itself, a broker or store by `start`."""
    with readable_errors():
        say(current_system(data_dir).kill(name))


def stop(name: Name, data_dir: DataDir = None) -> None:
    """End one part gracefully; it stays down until `start` or `up`."""
    with readable_errors():
        say(current_system(data_dir).stop(name))


def start(name: Name, data_dir: DataDir = None) -> None:
    """Start one part; returns once its process runs, and says what it waits for."""
    with readable_errors():
        say(current_system(data_dir).start(name))
