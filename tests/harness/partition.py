"""Rules for iptables that cut a native broker node off, from its peers alone or from everybody."""

import shutil
from collections.abc import Iterator, Sequence

import psutil

from orderctl.native.ports import Ports
from tests.harness.clusters import NODES

Rule = tuple[str, ...]


def can_drop_packets() -> bool:
    """Whether packets can be dropped here: iptables is installed and lets us look at its rules."""
    program = shutil.which("iptables")
    return program is not None and psutil.Process().uids().effective == 0


def rules_for(node: str, pid: int, ports: Ports, *, from_clients: bool) -> Iterator[Rule]:
    """Every packet to and from its own distribution port is dropped, and whatever goes over the connections
    that it had opened to its peers; no new connection to a peer is let through. With ``from_clients``, the
    same for the ports at which clients reach it.
    """
    for purpose in ("distribution", "amqp", "management") if from_clients else ("distribution",):
        yield _drop("--dport", ports[f"{node}.{purpose}"])
        yield _drop("--sport", ports[f"{node}.{purpose}"])
    peers = [ports[f"{name}.distribution"] for name in NODES if name != node]
    for local in _opened_by(pid, peers):
        yield _drop("--sport", local)
        yield _drop("--dport", local)
    for peer in peers:
        yield (*_drop("--dport", peer), "--syn")


def _opened_by(pid: int, ports: Sequence[int]) -> list[int]:
    """The local ports of the connections that a process opened to these ports."""
    return [
        connection.laddr.port
        for connection in psutil.Process(pid).net_connections("tcp")
        if connection.status == psutil.CONN_ESTABLISHED and connection.raddr.port in ports
    ]


def _drop(side: str, port: int) -> Rule:
    return ("INPUT", "-i", "lo", "-p", "tcp", side, str(port), "-j", "DROP")
