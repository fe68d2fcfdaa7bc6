"""A cluster of processes, through the code that ``orderctl`` uses, in a folder and on ports of its own."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from orderctl.native import processes, rabbitmq
from orderctl.native.cluster import PARTS, NativeCluster
from tests.harness.clusters import RABBITMQ_CONF, free_port_base
from tests.harness.partition import Rule, can_drop_packets, rules_for

FIRST_PORT_BASE = 31_000


class NativeTestCluster(NativeCluster):
    """See ``Cluster``."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, port_base=free_port_base(FIRST_PORT_BASE), rabbitmq_conf=RABBITMQ_CONF)
        self._rules: dict[str, list[Rule]] = {}

    def erlang_name(self, node: str) -> str:
        """See ``Cluster``."""
        return rabbitmq.erlang_name(node)

    def freeze(self, name: str) -> None:
        """See ``Cluster``."""
        self._signal(name, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """See ``Cluster``."""
        self._signal(name, signal.SIGCONT)

    @property
    def can_cut_off(self) -> bool:
        """See ``Cluster``."""
        return can_drop_packets()

    def cut_off(self, node: str, *, from_clients: bool) -> None:
        """See ``Cluster``. Packets are dropped: nobody is told."""
        self._rules[node] = []
        for rule in rules_for(node, self._pid(node), self.ports, from_clients=from_clients):
            _iptables("-I", rule)
            self._rules[node].append(rule)

    def reconnect(self, node: str) -> None:
        """See ``Cluster``."""
        for rule in self._rules.pop(node, []):
            _iptables("-D", rule)

    def rabbitmqctl(self, node: str, *words: str) -> str:
        """See ``Cluster``."""
        return rabbitmq.run_program(self.layout, node, self.ports, ["rabbitmqctl", *words])

    def log_text(self, name: str) -> str:
        """See ``Cluster``."""
        return self.layout.log(name).read_text(encoding="utf-8", errors="replace")

    def _signal(self, name: str, number: signal.Signals) -> None:
        """Of PostgreSQL, those who answer clients are children."""
        pid = self._pid(name)
        children = psutil.Process(pid).children() if name == "postgres" else []
        for each in (pid, *(child.pid for child in children)):
            os.kill(each, number)

    def _pid(self, name: str) -> int:
        pid = self.node_pid(name)
        assert pid is not None, f"{name} does not run"
        return pid


@contextmanager
def native_cluster() -> Iterator[NativeTestCluster]:
    """Three brokers and the stores that run, ended after the block."""
    with tempfile.TemporaryDirectory(prefix="orders-", ignore_cleanup_errors=True) as folder:
        cluster = NativeTestCluster(Path(folder))
        try:
            cluster.start()
            yield cluster
        finally:
            for part in PARTS:  # nobody reads its data again, and a broker takes up to 25 s for its leave
                cluster.kill(part)
            cluster.stop()
            processes.reap()


def _iptables(action: str, rule: Rule) -> None:
    subprocess.run(
        ["iptables", "--wait", action, *rule], check=True, capture_output=True, text=True, timeout=30
    )
