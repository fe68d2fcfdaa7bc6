"""Without an address every command speaks to the system of its own data folder, or to none."""

import json
import os
import socketserver
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orderctl.cli import app
from orderctl.errors import NotRunningError
from orderctl.native import processes
from orderctl.native.layout import Layout
from orderctl.native.secrets import Secrets
from orderctl.native.system import NativeSystem
from tests.harness.clusters import free_port_base

PORTS = ("api_gateway.http", "api_gateway.ops", "dashboard.http", "redis", "rabbitmq1.management")
COMMANDS = {
    "set stock": ["inventory", "set", "cable", "5"],
    "list stock": ["inventory", "list"],
    "place an order": ["order", "place", "--sku", "cable"],
    "show an order": ["order", "show", "order123"],
    "list orders": ["order", "list", "--json"],
    "list dead letters": ["dead", "list"],
    "drop dead letters": ["dead", "drop", "--all", "-y"],
    "redrive dead letters": ["dead", "redrive", "--all"],
    "load": ["load", "--orders", "5"],
    "verify": ["verify"],
    "republish": ["verify", "--republish"],
    "demo": ["demo"],
    "kill a broker": ["kill", "rabbitmq1"],
    "kill a service": ["kill", "api_gateway"],
    "stop": ["stop", "notifier"],
    "start": ["start", "notifier"],
    "redis": ["redis", "FLUSHALL"],
}


class Stranger(socketserver.ThreadingTCPServer):
    """Whatever another system has where ours was; it takes any connection and remembers it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)
        self.met = 0

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def verify_request(self, *_: object) -> bool:
        """Counted before anything else."""
        self.met += 1
        return False


@pytest.fixture
def strangers() -> Iterator[list[Stranger]]:
    """Another system on the ports that ours had."""
    servers = [Stranger() for _ in PORTS]
    threads = [threading.Thread(target=server.serve_forever, args=(0.02,)) for server in servers]
    for thread in threads:
        thread.start()
    yield servers
    for server, thread in zip(servers, threads, strict=True):
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def layout(tmp_path: Path, strangers: list[Stranger]) -> Layout:
    """The folder of a system that is down and remembers its addresses."""
    layout = Layout(tmp_path / "ours[x]")
    layout.create()
    remembered = {name: server.port for name, server in zip(PORTS, strangers, strict=True)}
    layout.ports.write_text(json.dumps(remembered), encoding="utf-8")
    layout.run_dir.rmdir()
    return layout


@contextmanager
def started(layout: Layout, name: str, *, listens_on: int = 0) -> Iterator[processes.ProcessRecord]:
    """A process of ours under this name, listening on one port."""
    code = f"import socket, time; s = socket.create_server(('127.0.0.1', {listens_on})); time.sleep(60)"
    record = processes.spawn(
        layout, name, [sys.executable, "-c", code], environment=os.environ, cwd=layout.data_dir
    )
    try:
        yield record
    finally:
        processes.kill(record)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_a_command_refuses_at_once(layout: Layout, strangers: list[Stranger], command: list[str]) -> None:
    """Nothing of ours runs: it says so, what to type, and leaves the other system alone."""
    began = time.monotonic()
    result = CliRunner().invoke(app, [*command, "--data-dir", str(layout.data_dir)])
    assert result.exit_code not in (0, None)
    assert time.monotonic() - began < 5.0, "far from the half minute of asking again"
    assert str(layout.data_dir) in result.output
    assert "orderctl up" in result.output
    assert [server.met for server in strangers] == [0] * len(strangers)


@pytest.mark.parametrize(
    "command", [["status"], ["status", "--json"], ["doctor"], ["logs"], ["down"], ["down", "--wipe"]]
)
def test_looking_and_ending_leave_a_stranger_alone(
    layout: Layout, strangers: list[Stranger], command: list[str]
) -> None:
    """What answers at our addresses is not asked whether it is ours."""
    assert CliRunner().invoke(app, [*command, "--data-dir", str(layout.data_dir)]).exit_code == 0
    assert [server.met for server in strangers] == [0] * len(strangers)


@pytest.mark.parametrize("command", ["set stock", "place an order", "load", "status"])
def test_a_part_of_ours_that_does_not_listen_there_is_no_proof(
    layout: Layout, strangers: list[Stranger], command: str
) -> None:
    """Our gateway runs and waits for its broker, while a stranger has its port."""
    with started(layout, "api_gateway"):
        words = COMMANDS.get(command, [command])
        result = CliRunner().invoke(app, [*words, "--data-dir", str(layout.data_dir)])
        assert result.exit_code == 1
    assert strangers[PORTS.index("api_gateway.http")].met == 0


def test_the_address_of_a_part_that_runs_is_given_out(layout: Layout) -> None:
    """The kernel says whose socket it is."""
    with started(layout, "probe") as probe:
        assert not processes.listens(probe, 1)
    system = NativeSystem(layout.data_dir)
    first = free_port_base(22_000)
    layout.ports.write_text(json.dumps({"redis": first, "dashboard.http": first + 1}), encoding="utf-8")
    with started(layout, "redis", listens_on=system.ports["redis"]):
        assert processes.wait_until(lambda: system.owns("redis"), 10.0)
        assert system.url("redis") == system.redis_url
        where = ["redis-cli", "-h", "127.0.0.1", "-p", str(system.ports["redis"])]
        assert system.redis_cli("redis", ["GET", "a b"])[0] == [*where, "GET", "a b"]
        Secrets(layout).ensure(["redis.operator"])
        command, environment = system.redis_cli("redis", ["GET", "a b"])
        assert command == [*where, "--user", "operator", "GET", "a b"]
        assert environment["REDISCLI_AUTH"] == Secrets(layout).get("redis.operator")
        with pytest.raises(NotRunningError):
            system.url("dashboard")
