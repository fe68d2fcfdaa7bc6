"""What every mode of running the pipeline can do, whichever way it does it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from orderctl.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatus:
    """One service. `url` is for clients, null where it has none; `reason` says why it is not ready."""

    name: str
    url: str | None
    ops_url: str
    pid: int | None
    ready: bool
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """One broker node; `running` by its own word, and only if it takes clients.

    The URLs are empty where it takes none over the network.
    """

    node: str
    amqp_url: str
    management_url: str
    pid: int | None
    running: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisStatus:
    """The store; `ready` if it answers."""

    url: str
    pid: int | None
    ready: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemStatus:
    """Every part of a running system, or of one that could run; `warning` is what its mode cannot do."""

    mode: str
    data_dir: Path
    services: tuple[ServiceStatus, ...]
    rabbitmq: tuple[NodeStatus, ...]
    redis: RedisStatus
    warning: str = ""

    @property
    def anything_runs(self) -> bool:
        """True if any part has a process, or does its work where its process cannot be seen."""
        works = [service.ready for service in self.services] + [node.running for node in self.rabbitmq]
        pids = [service.pid for service in self.services] + [node.pid for node in self.rabbitmq]
        return any((*works, self.redis.ready)) or any(pid is not None for pid in (*pids, self.redis.pid))

    def service(self, name: str) -> ServiceStatus:
        """One service by its name."""
        return next(service for service in self.services if service.name == name)

    def as_json(self) -> dict[str, Any]:
        """The shape of `status --json`, which scripts rely on."""
        return {
            "mode": self.mode,
            "data_dir": str(self.data_dir),
            "services": {
                service.name: {
                    "url": service.url,
                    "ops_url": service.ops_url,
                    "pid": service.pid,
                    "ready": service.ready,
                }
                for service in self.services
            },
            "rabbitmq": [asdict(node) for node in self.rabbitmq],
            "redis": {"url": self.redis.url, "pid": self.redis.pid},
        }


class System(Protocol):
    """The pipeline on this machine, in one mode."""

    def up(self, progress: Progress) -> None:
        """Start whatever is missing; returns when orders are taken. Raises OrderctlError."""

    def down(self, *, wipe: bool, progress: Progress) -> None:
        """Stop everything, and with `wipe` remove its data; harmless when nothing runs."""

    def status(self) -> SystemStatus:
        """Look at every part now; never raises because a part is broken."""

    def service_url(self, name: str) -> str:
        """Where clients reach a service, whether it runs or not; raises OrderctlError if they do not."""

    def dashboard_token(self) -> str | None:
        """What the dashboard wants before it shows dead letters; None where it wants nothing of us."""

    def kill(self, name: str) -> str:
        """End a part as a crash would; the answer says what that means."""

    def stop(self, name: str) -> str:
        """End a part gracefully; it stays down until it is started."""

    def start(self, name: str) -> str:
        """Start a part; returns once its process runs, and says what it waits for."""

    def logs(self) -> dict[str, Path]:
        """The log of each part that has one."""
