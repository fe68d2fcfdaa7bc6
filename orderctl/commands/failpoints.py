"""`orderctl failpoints`: where a service can be made to die, to see that nothing is lost by it."""

from rich.text import Text

from orderctl.commands.options import AsJson
from orderctl.terminal import listing, out, print_json
from shared.failpoints import FAILPOINTS, VARIABLE


def failpoints(as_json: AsJson = False) -> None:
    """List the crash points that are built into the services, and how to arm one."""
    if as_json:
        print_json(dict(FAILPOINTS))
        return
    table = listing("failpoint", "who dies there, and when")
    table.columns[0].no_wrap = True
    for name, meaning in FAILPOINTS.items():
        table.add_row(name, meaning)
    out.print(table)
    out.print(
        Text(f"\n{VARIABLE}=NAME in a service's environment makes it die the first time it gets there,")
    )
    out.print(Text(f"{VARIABLE}=NAME:25 the 25th time. Without the variable nothing happens."))
