"""What a node's log and configuration say, without a node."""

import json
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orderctl.native import broker_users, packages, processes, rabbitmq
from orderctl.native.layout import Layout
from orderctl.native.ports import Ports
from shared.messaging.rabbitmq.rights import OPERATOR, USERS


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    """A data folder in which nothing is left running."""
    layout = Layout(tmp_path)
    layout.create()
    yield layout
    for owned in processes.owned_by(layout):
        processes.kill(owned.record)


def ended(layout: Layout, says: str) -> None:
    """Start a node of the test's own, and wait until it has ended."""
    command = [sys.executable, "-c", f"print({says!r})"]
    record = processes.spawn(layout, "rabbitmq1", command, environment=os.environ, cwd=layout.data_dir)
    assert processes.wait_gone(record, 10.0)


def test_a_node_that_gave_up_its_start_is_known(layout: Layout) -> None:
    """It was asked for and ended by itself, so it may be started again unasked."""
    ended(layout, "BOOT FAILED")
    assert rabbitmq.gave_up(layout, "rabbitmq1")


@pytest.mark.parametrize(
    ("first", "between", "last", "gave_up"),
    [
        ("", 0, "Server startup complete", False),
        ("Server startup complete", 0, "BOOT FAILED", True),
        ("BOOT FAILED", 0, "Server startup complete", False),
        ("Server startup complete", 2_000_000, "BOOT FAILED", True),
    ],
)
def test_a_node_that_gave_up_within_a_living_process_is_known(
    layout: Layout, first: str, between: int, last: str, gave_up: bool
) -> None:
    """It was paused for want of a majority, and could not begin again."""
    script = f"print({first!r} + {between} * 'x' + {last!r}, flush=True); import time; time.sleep(60)"
    command = [sys.executable, "-c", script]
    record = processes.spawn(layout, "rabbitmq1", command, environment=os.environ, cwd=layout.data_dir)
    written = record.log_bytes + len(first) + between + len(last)
    assert processes.wait_until(lambda: layout.log("rabbitmq1").stat().st_size > written, 10.0)
    assert record.alive
    assert rabbitmq.gave_up(layout, "rabbitmq1") is gave_up


def test_only_the_last_start_counts(layout: Layout) -> None:
    """A node that failed once, then ran, and was ended on purpose, stays down."""
    ended(layout, "BOOT FAILED")
    ended(layout, "Server startup complete")
    assert not rabbitmq.gave_up(layout, "rabbitmq1")
    assert not rabbitmq.gave_up(layout, "rabbitmq2")


def test_the_cookie_is_secret_and_stays(layout: Layout) -> None:
    """Erlang refuses a cookie that others can read, and nodes that know different ones."""
    rabbitmq.write_cookie(layout)
    cookie = layout.home / ".erlang.cookie"
    before = cookie.read_text(encoding="ascii")
    rabbitmq.write_cookie(layout)
    assert stat.S_IMODE(cookie.stat().st_mode) == 0o400
    assert cookie.read_text(encoding="ascii") == before


def test_a_node_listens_on_loopback_only_and_on_ports_of_ours(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody outside this machine reaches it, and nobody's settings reach the node."""
    monkeypatch.setenv("RABBITMQ_NODENAME", "another@elsewhere")
    monkeypatch.setattr(packages, "rabbitmq_program", Path)
    ports = Ports(layout)
    rabbitmq.configure(layout, "rabbitmq2", ports, {"consumer_timeout": "5000"})
    text = (layout.part("rabbitmq2") / "rabbitmq.conf").read_text(encoding="utf-8")
    environment = rabbitmq.environment(layout, "rabbitmq2", ports)
    assert "listeners.tcp.1 = 127.0.0.1:5673" in text
    assert "management.tcp.ip = 127.0.0.1" in text
    assert "cluster_partition_handling = pause_minority" in text
    assert "consumer_timeout = 5000" in text
    assert environment["RABBITMQ_NODENAME"] == "rabbitmq2@localhost"
    assert environment["ERL_EPMD_ADDRESS"] == "127.0.0.1"
    assert environment["ERL_EPMD_PORT"] != "4369"


def test_passwords_lie_in_one_file_that_nobody_else_may_read(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One for each user, made once. A node is told of the operator by a hash, and no user is its default."""
    monkeypatch.setattr(packages, "rabbitmq_program", Path)
    broker_users.ensure(layout)
    made = json.loads(layout.secrets.read_text(encoding="ascii"))
    assert made.keys() == {f"rabbitmq.{user}" for user in (OPERATOR, *USERS)}
    assert len(set(made.values())) == len(made)
    broker_users.ensure(layout)
    rabbitmq.configure(layout, "rabbitmq1", Ports(layout), {})
    assert json.loads(layout.secrets.read_text(encoding="ascii")) == made
    told = layout.part("rabbitmq1") / "operator.json"
    assert f"load_definitions = {told}" in (told.parent / "rabbitmq.conf").read_text(encoding="utf-8")
    assert [user["name"] for user in json.loads(told.read_text(encoding="ascii"))["users"]] == [OPERATOR]
    assert {stat.S_IMODE(path.stat().st_mode) for path in (told, layout.secrets)} == {0o600}
    files = [path for path in layout.data_dir.rglob("*") if path.is_file() and path != layout.secrets]
    assert not [path for path in files for password in made.values() if password in path.read_text()]
