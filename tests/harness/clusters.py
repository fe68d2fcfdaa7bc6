"""What tests do to three brokers and the stores, whichever way those run on this machine."""

from collections.abc import Collection
from enum import StrEnum
from typing import Protocol

from orderctl.native.layout import Layout
from orderctl.native.ports import Ports, reserve
from tests.harness.workers import worker_number

NODES = ("rabbitmq1", "rabbitmq2", "rabbitmq3")
PARTS = (*NODES, "redis", "cache", "postgres")
PORTS_NEEDED = 40
RABBITMQ_CONF = {"collect_statistics_interval": "1000"}


class ClusterKind(StrEnum):
    """How the cluster of a test run is made: by the code behind ``orderctl``, or by testcontainers."""

    NATIVE = "native"
    CONTAINERS = "containers"


class Cluster(Protocol):
    """A cluster that only this test run knows. Every call blocks until it is done.

    A part is a node or a store; ports stay the same when it is started again.
    """

    layout: Layout
    ports: Ports

    @property
    def rabbitmq_urls(self) -> list[str]: ...

    @property
    def rabbitmq_management_urls(self) -> list[str]: ...

    @property
    def redis_url(self) -> str: ...

    def store_url(self, name: str, login: str) -> str:
        """Where a login finds ``redis`` or ``cache``."""

    @property
    def monitoring_urls(self) -> list[str]: ...

    def broker_urls(self, user: str) -> list[str]:
        """Where one service finds the nodes, log-in included."""

    def database_url(self, service: str) -> str:
        """Where a service has its database, log-in included."""

    def amqp_url(self, node: str) -> str:
        """Where clients reach one node, credentials included."""

    def erlang_name(self, node: str) -> str:
        """What the brokers themselves call it."""

    def node_pid(self, name: str) -> int | None:
        """A process of the part; None while it does not run."""

    def seen_by(self, node: str) -> Collection[str]:
        """The nodes that this one sees running; empty while it does not take clients itself."""

    def start(self) -> None:
        """Starts whatever is missing; returns when all of it works together."""

    def stop(self) -> None:
        """Stops all parts gracefully; their data stays."""

    def start_part(self, name: str) -> object:
        """Starts one part if it does not run; returns once its process runs."""

    def stop_part(self, name: str) -> bool:
        """Stops one part gracefully; False if it was not running."""

    def kill(self, name: str) -> bool:
        """SIGKILL; False if it was not running."""

    def wait_store(self, name: str) -> None:
        """Returns once ``redis``, ``cache`` or ``postgres`` answers."""

    def freeze(self, name: str) -> None:
        """Stops a part in the middle of whatever it does, which it does not notice."""

    def thaw(self, name: str) -> None:
        """Lets a frozen part go on."""

    @property
    def can_cut_off(self) -> bool:
        """Whether this machine lets us do that."""

    def cut_off(self, node: str, *, from_clients: bool) -> None:
        """Takes the network between a node and its peers away, and its clients' too if wanted."""

    def reconnect(self, node: str) -> None:
        """Gives a node its network back."""

    def rabbitmqctl(self, node: str, *words: str) -> str:
        """Runs rabbitmqctl against one node and returns what it printed."""

    def log_text(self, name: str) -> str:
        """What the part has written so far."""


def free_port_base(first: int) -> int:
    """The first of ``PORTS_NEEDED`` ports that nobody listens on; workers begin far apart.

    They stay reserved for this process: another test run may look at the same moment.
    """
    for base in range(first + 500 * worker_number(), 60_000, 100):
        if all(reserve(base + offset) for offset in range(PORTS_NEEDED)):
            return base
    raise RuntimeError("no free range of ports")
