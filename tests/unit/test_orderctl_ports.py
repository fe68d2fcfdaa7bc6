"""Ports are the well-known ones where they are free, remembered, and never taken from anybody."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orderctl.errors import PortTakenError
from orderctl.native import ports as ports_of_parts
from orderctl.native.layout import Layout
from orderctl.native.ports import WELL_KNOWN_PORTS, Ports, ports_from, reserve
from orderctl.progress import Step
from tests.harness.workers import worker_number

FIRST = 21_500 + 1_000 * worker_number()  # below the ports that outgoing connections get


@pytest.fixture(autouse=True)
def soon_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that is taken is waited for a moment only."""
    monkeypatch.setattr(ports_of_parts, "GIVEN_BACK_SECONDS", 0.05)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An empty data folder."""
    layout = Layout(tmp_path)
    layout.create()
    return layout


@pytest.fixture
def free() -> int:
    """A port with three free ones after it; another test run may be looking for the same."""
    return next(port for port in range(FIRST, 32_000) if all(reserve(port + step) for step in range(4)))


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


@contextmanager
def settled_elsewhere(owner: Path) -> Iterator[int]:
    """A port that another process has settled on and does not listen on yet."""
    look = f"next(port for port in range({FIRST + 500}, 32_000) if reserve(port, {str(owner)!r}))"
    script = f"from orderctl.native.ports import reserve; print({look}, flush=True); input()"
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        yield int(other.stdout.readline())
        other.communicate("\n", timeout=10)


def test_a_port_that_another_system_has_settled_on_is_not_free(layout: Layout) -> None:
    """Two systems that start at the same moment get different ports; once the other has ended it is over."""
    with settled_elsewhere(layout.data_dir / "another") as port:
        ports = Ports(layout, preferred={"a": port})
        ports.claim(["a"])
        assert ports["a"] != port
    assert reserve(port)


def test_a_part_keeps_its_port_whichever_process_of_its_system_starts_it(layout: Layout) -> None:
    """The supervisor lives on with what it reserved; `orderctl start` must not move the part for that."""
    with settled_elsewhere(layout.data_dir) as port:
        ports = Ports(layout, preferred={"a": port})
        ports.claim(["a"])
        assert ports["a"] == port


def test_a_chosen_port_that_another_part_prefers_is_left_to_who_chose_it(layout: Layout, free: int) -> None:
    """The other gets the next one, and is not told that it has the same."""
    remarks: list[Step] = []
    ports = Ports(layout, preferred={"b": free}, chosen={"a": free}, chosen_by={"a": "GATEWAY_PORT"})
    ports.claim(["b", "a"], remarks.append)
    assert (ports["a"], ports["b"]) == (free, free + 1)
    assert f"port {free} is taken by a: b gets {free + 1}" in remarks[0].detail


def test_a_port_that_was_chosen_twice_is_an_error(layout: Layout, free: int) -> None:
    """It says which part has it."""
    chosen, by = {"a": free, "b": free}, {"a": "GATEWAY_PORT", "b": "DASHBOARD_PORT"}
    with pytest.raises(PortTakenError, match=f"DASHBOARD_PORT={free}: the port is taken by a"):
        Ports(layout, chosen=chosen, chosen_by=by).claim(["a", "b"])


def test_a_second_system_has_distinct_ports() -> None:
    """Counted up from anywhere, every part has a port of its own."""
    assert len(set(ports_from(30_000).values())) == len(WELL_KNOWN_PORTS)
