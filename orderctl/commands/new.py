"""`orderctl new`: what a developer begins with."""

import subprocess
import sys
from typing import Annotated

import typer

from orderctl.errors import OrderctlError
from orderctl.native.layout import project_root
from orderctl.scaffold import new_consumer
from orderctl.terminal import out, readable_errors, say

app = typer.Typer(add_completion=False, help="Begin something new in this checkout.", no_args_is_help=True)


@app.callback()
def new() -> None:
    """Begin something new in this checkout."""


@app.command()
def consumer(
    name: Annotated[str, typer.Argument(help="What it is called, such as fraud_check.", show_default=False)],
) -> None:
    """Write a consumer of created orders: a folder with one function, its test, its row in the map, and its
    lines in compose, Prometheus, access rules and documents.
    """
    with readable_errors():
        root = project_root()
        for path in new_consumer(root, name):
            say(f"wrote {path.relative_to(root)}")
        written = subprocess.run([sys.executable, "-m", "tests.contracts", "--write"], cwd=root, check=False)
        if written.returncode:
            raise OrderctlError("its place in docs/events was not written: make contracts ARGS=--write")
        say("wrote docs/events/asyncapi.json")
        out.print(f'next: make test ARGS="tests/unit/test_{name}.py", then make up', markup=False)
