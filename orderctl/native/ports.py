"""Which part listens where: the well-known port if it is free, the next one if not, the same one next time.

A port that is taken is no error where nobody chose it. What was found is remembered in the data folder, so
that a system keeps its addresses over `down` and `up`; a remembered port is given up only when somebody else
has it. Between settling on a port and listening there lie seconds in which another system may start: a port
is reserved for its data folder, across processes, by the process that settled on it, and then by the one that
looks after the system (`hold`): a part that is down for a while finds its port again.
"""

import fcntl
import json
import os
import socket
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from orderctl.errors import PortTakenError
from orderctl.native import processes
from orderctl.native.layout import Layout
from orderctl.progress import Progress, note, silent
from shared.services import CACHE, DATABASE, SERVICES, STORE

GIVEN_BACK_SECONDS = 1.0  # a port of a process that was killed just now may still be on its way back
LOOPBACK = "127.0.0.1"
_reserved: dict[int, int] = {}  # the locks of this process by port, as file descriptors: held until it ends
NODE_NAMES = ("rabbitmq1", "rabbitmq2", "rabbitmq3")
REDIS = STORE
POSTGRES = DATABASE
STORES = (REDIS, CACHE, POSTGRES)
EPMD = "epmd"
EDGE = "edge"
EDGE_SETTING = "EDGE_PORT"

WELL_KNOWN_PORTS: Mapping[str, int] = {
    "epmd": 14369,
    REDIS: 6379,
    CACHE: 6380,
    POSTGRES: 5432,
    **{f"rabbitmq{number}.amqp": 5671 + number for number in (1, 2, 3)},
    **{f"rabbitmq{number}.management": 15671 + number for number in (1, 2, 3)},
    **{f"rabbitmq{number}.prometheus": 15691 + number for number in (1, 2, 3)},
    **{f"rabbitmq{number}.distribution": 25671 + number for number in (1, 2, 3)},
    **{name: port for service in SERVICES.values() for name, port in service.default_ports.items()},
    EDGE: 8443,
}


def ports_from(first: int) -> dict[str, int]:
    """The same ports, counted up from `first`: for a second system beside the usual one."""
    return {name: first + offset for offset, name in enumerate(WELL_KNOWN_PORTS)}


def node_ports(node: str) -> tuple[str, ...]:
    """The names of the four ports of one broker node."""
    return tuple(f"{node}.{purpose}" for purpose in ("amqp", "management", "prometheus", "distribution"))


@dataclass(slots=True)
class Ports:
    """The ports of one system: where each part prefers to be, and what the operator chose.

    `chosen_by` names the setting behind each chosen port.
    """

    layout: Layout
    preferred: Mapping[str, int] = field(default_factory=lambda: dict(WELL_KNOWN_PORTS))
    chosen: Mapping[str, int] = field(default_factory=dict)
    chosen_by: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_system(cls, layout: Layout, settings: Mapping[str, str], chosen: Mapping[str, int]) -> "Ports":
        """`chosen` is keyed by the setting that chose the port; `settings` names the port of each."""
        return cls(
            layout,
            chosen={settings[setting]: port for setting, port in chosen.items()},
            chosen_by={settings[setting]: setting for setting in chosen},
        )

    def __getitem__(self, name: str) -> int:
        """Where the part listens, or would listen, as the last `claim` left it."""
        return self._remembered().get(name) or self.chosen.get(name) or self.preferred[name]

    def claim(self, names: Iterable[str], progress: Progress = silent) -> None:
        """Settle the ports of parts that are about to start, and remember them.

        Raises PortTakenError when a port that the operator chose belongs to somebody else.
        """
        remembered = self._remembered()
        wanted = {name: self.chosen.get(name) or remembered.get(name, self.preferred[name]) for name in names}
        others = {port for name, port in remembered.items() if name not in wanted}
        processes.wait_until(lambda: all(is_free(port) for port in wanted.values()), GIVEN_BACK_SECONDS)
        owner = str(self.layout.data_dir)
        settled: dict[str, int] = {}
        for name in sorted(wanted, key=lambda name: name not in self.chosen):
            if wanted[name] not in {*others, *settled.values()} and reserve(wanted[name], owner):
                settled[name] = wanted[name]
        for name in wanted.keys() - settled.keys():
            if name in self.chosen:
                raise PortTakenError(
                    f"{self.chosen_by[name]}={wanted[name]}: the port is taken"
                    + (_part_at(wanted[name], remembered | settled, name) or _holder(wanted[name])),
                    advice=f"free the port, choose another {self.chosen_by[name]}, or leave it unset",
                )
        for name in [name for name in wanted if name not in settled]:
            avoid = others | set(settled.values()) | set(wanted.values())
            settled[name] = _next_free(wanted[name], avoid, owner)
            holder = _part_at(wanted[name], settled, name) or _holder(wanted[name])
            note(progress, f"port {wanted[name]} is taken{holder}: {name} gets {settled[name]}")
        self._remember({**remembered, **settled})

    def hold(self) -> None:
        """Keep the ports of this system from others while this process lives, whether parts listen or not."""
        for port in self._remembered().values():
            if port not in _reserved:
                _lock(port, str(self.layout.data_dir))

    def _remembered(self) -> dict[str, int]:
        try:
            content: dict[str, int] = json.loads(self.layout.ports.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return content

    def _remember(self, ports: Mapping[str, int]) -> None:
        draft = self.layout.ports.with_suffix(".new")
        draft.write_text(json.dumps(ports, indent=1, sort_keys=True), encoding="utf-8")
        draft.replace(self.layout.ports)


def is_free(port: int) -> bool:
    """True if a process of ours could listen there now, whatever closed connections linger."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def reserve(port: int, owner: str = "") -> bool:
    """True if the port is free and nobody else among this user's processes has settled on it.

    None will from now on, but for those of the same ``owner``: a part that one process has started may be
    started again by another, and keeps its port.
    """
    return is_free(port) and (port in _reserved or _lock(port, owner))


def _lock(port: int, owner: str) -> bool:
    folder = Path(tempfile.gettempdir()) / f"order-pipeline-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{port}.lock"
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return owner != "" and path.read_text(encoding="utf-8") == owner
    path.write_text(owner, encoding="utf-8")
    _reserved[port] = lock
    return True


def answers(port: int, timeout_seconds: float = 0.5) -> bool:
    """True if something accepts connections there."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=timeout_seconds).close()
    except OSError:
        return False
    return True


def _next_free(port: int, avoid: set[int], owner: str) -> int:
    for candidate in range(port + 1, 65_536):
        if candidate not in avoid and reserve(candidate, owner):
            return candidate
    raise PortTakenError(f"no port above {port} is free")


def _part_at(port: int, ports: Mapping[str, int], asking: str) -> str:
    """Which other part of this system has the port."""
    return next((f" by {name}" for name, its in ports.items() if its == port and name != asking), "")


def _holder(port: int) -> str:
    """Who listens on a port, as far as this user may know."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                pid = connection.pid
                return f" by {psutil.Process(pid).name()} ({pid})" if pid else ""
    except (psutil.Error, OSError):
        return ""
    return ""
