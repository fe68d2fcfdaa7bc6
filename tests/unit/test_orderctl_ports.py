"""Ports are the well-known ones where they are free, remembered, and never taken from anybody."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orderctl.errors import PortTakenError
from orderctl.native.layout import Layout
from orderctl.native.ports import WELL_KNOWN_PORTS, Ports, is_free, ports_from, reserve
from orderctl.progress import Step
from tests.harness.workers import worker_number

FIRST = 21_500 + 1_000 * worker_number()  # below the ports that outgoing connections get


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An empty data folder."""
    layout = Layout(tmp_path)
    layout.create()
    return layout


@pytest.fixture
def free() -> int:
    """A port with three free ones after it."""
    return next(port for port in range(FIRST, 32_000) if all(is_free(port + step) for step in range(4)))


@pytest.fixture
def taken(free: int) -> Iterator[int]:
    """A port on which somebody else listens."""
    with socket.create_server(("127.0.0.1", free)):
        yield free


def test_a_free_port_is_taken_as_it_is(layout: Layout, free: int) -> None:
    """Where nothing is in the way, a part gets the port that it prefers."""
    ports = Ports(layout, preferred={"a": free})
    ports.claim(["a"])
    assert ports["a"] == free


def test_a_taken_port_leads_to_the_next_and_a_remark(layout: Layout, taken: int) -> None:
    """A port of somebody else is no error where nobody chose it, but it is said."""
    remarks: list[Step] = []
    ports = Ports(layout, preferred={"a": taken})
    ports.claim(["a"], remarks.append)
    assert ports["a"] == taken + 1
    assert str(taken) in remarks[0].detail


def test_two_parts_never_get_the_same_port(layout: Layout, taken: int) -> None:
    """The next free port is one that no other part prefers."""
    ports = Ports(layout, preferred={"a": taken, "b": taken + 1})
    ports.claim(["a", "b"])
    assert ports["b"] == taken + 1
    assert ports["a"] == taken + 2


def test_a_port_is_remembered(layout: Layout, taken: int) -> None:
    """A system keeps its addresses, although the well-known port may be free next time."""
    Ports(layout, preferred={"a": taken}).claim(["a"])
    again = Ports(layout, preferred={"a": FIRST - 1})
    again.claim(["a"])
    assert again["a"] == taken + 1


def test_a_chosen_port_that_is_taken_is_an_error(layout: Layout, taken: int) -> None:
    """Who chose a port is told that it is taken, by the name of the setting."""
    ports = Ports(layout, preferred={"a": FIRST}, chosen={"a": taken}, chosen_by={"a": "GATEWAY_PORT"})
    with pytest.raises(PortTakenError, match=f"GATEWAY_PORT={taken}"):
        ports.claim(["a"])


def test_a_chosen_port_wins_over_the_remembered_one(layout: Layout, free: int) -> None:
    """A setting that is added later takes effect at the next start."""
    Ports(layout, preferred={"a": free}).claim(["a"])
    chosen = Ports(layout, chosen={"a": free + 1}, chosen_by={"a": "GATEWAY_PORT"})
    chosen.claim(["a"])
    assert chosen["a"] == free + 1


def test_a_port_that_another_system_has_settled_on_is_not_free(layout: Layout) -> None:
    """Two systems that start at the same moment get different ports; once the other has ended it is over."""
    free = next(port for port in range(FIRST + 500, 32_000) if is_free(port) and is_free(port + 1))
    script = f"from orderctl.native.ports import reserve; print(reserve({free}), flush=True); input()"
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        ports = Ports(layout, preferred={"a": free})
        ports.claim(["a"])
        assert ports["a"] == free + 1
        other.communicate("\n", timeout=10)
    assert reserve(free)


def test_a_second_system_has_distinct_ports() -> None:
    """Counted up from anywhere, every part has a port of its own."""
    assert len(set(ports_from(30_000).values())) == len(WELL_KNOWN_PORTS)
