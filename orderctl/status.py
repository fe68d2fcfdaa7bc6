"""The state of all parts as a table for people."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from rich.console import Group, RenderableType
from rich.text import Text

from orderctl.system import SystemStatus
from orderctl.terminal import listing, shown


def render(status: SystemStatus, attention: Sequence[str] = ()) -> RenderableType:
    """One line per part, brokers first because everything rests on them, then what needs attention."""
    heading = shown(f"mode {status.mode}, data in {status.data_dir}", "dim")
    if not status.anything_runs:
        return Group(heading, shown("nothing runs; start it with: orderctl up"))
    warnings = [Text(status.warning, style="yellow")] if status.warning else []
    table = listing("part", "state", "pid", "address")
    for node in status.rabbitmq:
        table.add_row(node.node, _state(node.pid, node.running), _pid(node.pid), _address(node.amqp_url))
    for store in status.stores:
        table.add_row(store.name, _state(store.pid, store.ready), _pid(store.pid), _address(store.url))
    for service in status.services:
        state = _state(service.pid, service.ready)
        table.add_row(service.name, state, _pid(service.pid), service.url or service.ops_url)
    sentences = [shown(each, "yellow") for each in attention]
    return Group(heading, table, *sentences, *warnings)


def _state(pid: int | None, ready: bool) -> Text:
    if ready:
        return Text("ready", style="green")
    return Text("down", style="red") if pid is None else Text("not ready", style="yellow")


def _pid(pid: int | None) -> str:
    return "-" if pid is None else str(pid)


def _address(url: str) -> str:
    if not url:
        return "inside the services' process"
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port}"
