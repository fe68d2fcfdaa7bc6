"""A broker node that its peers cannot reach, while everybody else can: packets between them are dropped."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

import psutil

from tests.harness.running import Pipeline

NODES = ("rabbitmq1", "rabbitmq2", "rabbitmq3")

Rule = tuple[str, ...]


def can_partition() -> bool:
    """Whether packets can be dropped here: iptables is installed and lets us look at its rules."""
    program = shutil.which("iptables")
    return program is not None and psutil.Process().uids().effective == 0


@asynccontextmanager
async def partitioned(pipeline: Pipeline, node: str) -> AsyncIterator[None]:
    """Cuts ``node`` off from the other two for the length of the block. Clients reach all three.

    Every packet to and from its own distribution port is dropped, and so is what goes over the connections
    that it had opened to its peers; no new connection to a peer is let through.
    """
    rules = [*_rules(pipeline, node)]
    done: list[Rule] = []
    try:
        for rule in rules:
            await _iptables("-I", rule)
            done.append(rule)
        yield
    finally:
        for rule in done:
            await _iptables("-D", rule)


def _rules(pipeline: Pipeline, node: str) -> Iterable[Rule]:
    ports = pipeline.cluster.ports
    own = ports[f"{node}.distribution"]
    peers = [ports[f"{name}.distribution"] for name in NODES if name != node]
    yield _drop("--dport", own)
    yield _drop("--sport", own)
    for local in _opened_by(pipeline.cluster.node_pid(node), peers):
        yield _drop("--sport", local)
        yield _drop("--dport", local)
    for peer in peers:
        yield (*_drop("--dport", peer), "--syn")


def _opened_by(pid: int | None, ports: Sequence[int]) -> list[int]:
    """The local ports of the connections that a process opened to these ports."""
    return [
        connection.laddr.port
        for connection in psutil.Process(pid).net_connections("tcp")
        if connection.status == psutil.CONN_ESTABLISHED and connection.raddr.port in ports
    ]


def _drop(side: str, port: int) -> Rule:
    return ("INPUT", "-i", "lo", "-p", "tcp", side, str(port), "-j", "DROP")


async def _iptables(action: str, rule: Rule) -> None:
    process = await asyncio.create_subprocess_exec(
        "iptables", "--wait", action, *rule, stderr=asyncio.subprocess.PIPE
    )
    _, error = await process.communicate()
    assert process.returncode == 0, error.decode()
