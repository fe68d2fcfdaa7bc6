"""`orderctl`: the table of commands. What they do is in `orderctl.commands`."""

import typer

from orderctl.commands import dead, demo, failpoints, inventory, lifecycle, load, orders, parts, verify, views

app = typer.Typer(
    name="orderctl",
    help="Run the order pipeline on this machine, break parts of it, and look inside.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.command()(lifecycle.up)
app.command()(lifecycle.down)
app.command()(views.status)
app.command()(views.logs)
app.command()(views.doctor)
app.command()(parts.kill)
app.command()(parts.stop)
app.command()(parts.start)
app.add_typer(inventory.app, name="inventory")
app.add_typer(orders.app, name="order")
app.add_typer(dead.app, name="dead")
app.command()(load.load)
app.command()(verify.verify)
app.command()(demo.demo)
app.command()(failpoints.failpoints)


def main() -> None:
    """The entry point that `pip` installs."""
    app()
