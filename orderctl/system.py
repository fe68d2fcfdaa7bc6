"""What every mode of running the pipeline can do, whichever way it does it."""

import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from orderctl.environment import operator_settings
from orderctl.errors import NotRunningError, PartFailedError, UnknownPartError
from orderctl.exposure import HOST, exposure
from orderctl.native import edge, packages, processes, stores
from orderctl.native.layout import Layout
from orderctl.native.ports import EDGE, EDGE_SETTING, LOOPBACK, NODE_NAMES, POSTGRES, REDIS, STORES, Ports
from orderctl.native.services import (
    PORTS_BY_SETTING,
    READY_SECONDS,
    Readiness,
    client_url,
    operations_url,
    spec_of,
)
from orderctl.progress import Progress, Step, StepState
from shared.services import SERVICES

PARTS: Final = (*NODE_NAMES, *STORES, *SERVICES)
COMES_BACK_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.1
CLI_PASSWORD: Final = "REDISCLI_AUTH"  # noqa: S105 - a name
"""The variable from which redis-cli has its password, which no list of processes shows."""


class Mode(StrEnum):
    """How the pipeline is run; AUTO takes the best that the machine offers."""

    AUTO = "auto"
    DOCKER = "docker"
    NATIVE = "native"
    EMBEDDED = "embedded"


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
class BrokerStatus:
    """One broker node; `running` by its own word, and only if it takes clients.

    The URLs are empty where it takes none over the network.
    """

    node: str
    amqp_url: str
    management_url: str
    pid: int | None
    running: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStatus:
    """Redis, the cache or PostgreSQL; `ready` if it answers.

    The URL is empty where it takes nobody over the network.
    """

    name: str
    url: str
    pid: int | None
    ready: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemStatus:
    """Every part of a running system, or of one that could run; `warning` is what its mode cannot do."""

    mode: Mode
    data_dir: Path
    services: tuple[ServiceStatus, ...]
    rabbitmq: tuple[BrokerStatus, ...]
    stores: tuple[StoreStatus, ...]
    warning: str = ""

    @property
    def anything_runs(self) -> bool:
        """True if any part has a process, or does its work where its process cannot be seen."""
        named: list[ServiceStatus | StoreStatus] = [*self.services, *self.stores]
        works = [part.ready for part in named] + [node.running for node in self.rabbitmq]
        pids = [part.pid for part in named] + [node.pid for node in self.rabbitmq]
        return any(works) or any(pid is not None for pid in pids)

    @property
    def missing(self) -> Sequence[str]:
        """The parts that cannot do their work."""
        nodes = [node.node for node in self.rabbitmq if not node.running]
        named: list[ServiceStatus | StoreStatus] = [*self.stores, *self.services]
        return [*nodes, *(part.name for part in named if not part.ready)]

    @property
    def redis(self) -> StoreStatus:
        """The primary store."""
        return next(store for store in self.stores if store.name == REDIS)

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
            **{store.name: {"url": store.url, "pid": store.pid} for store in self.stores},
        }


class System(ABC):
    """The pipeline on this machine, in one mode: what is in its data folder, and listens on its ports."""

    mode: ClassVar[Mode]
    keeps_data: ClassVar[bool] = True
    """Whether what it holds is still there after `down`."""
    port_settings: ClassVar[Mapping[str, str]] = {**PORTS_BY_SETTING, EDGE_SETTING: EDGE}
    """The name of each port that the operator may choose, by the setting that does."""

    def __init__(self, data_dir: Path, *, chosen_ports: Mapping[str, int] | None = None) -> None:
        """`chosen_ports` is keyed by the setting that chose the port, such as GATEWAY_PORT."""
        self.layout = Layout(data_dir.resolve())
        self.ports = Ports.of_system(self.layout, self.port_settings, chosen_ports or {})

    @classmethod
    @abstractmethod
    def is_offered(cls) -> bool:
        """Whether `auto` may take this mode on this machine."""

    @abstractmethod
    def up(self, progress: Progress) -> None:
        """Start whatever is missing; returns when orders are taken. Raises OrderctlError."""

    def up_edge(self, progress: Progress) -> str:
        """Put the edge in front of the gateway; returns where it is. Raises OrderctlError."""
        with self.layout.locked():
            packages.ensure_nginx(progress, self.layout.log("packages"))
            edge.start(self.layout, self.ports)
        progress(Step(name=EDGE, state=StepState.DONE, detail=edge.url(self.ports)))
        return edge.url(self.ports)

    @abstractmethod
    def end(self, *, wipe: bool, progress: Progress) -> None:
        """Stop everything gracefully, and with `wipe` remove what is not in the data folder."""

    @abstractmethod
    def status(self) -> SystemStatus:
        """Look at every part now; never raises because a part is broken."""

    def exposure(self) -> str | None:
        """What is wrong with where the gateway is, or would be, reached from, if anything is."""
        settings = operator_settings()
        return exposure(settings.get(HOST) or LOOPBACK, settings)

    @abstractmethod
    def owns(self, port: str) -> bool:
        """True if a part of this very system, and no stranger, listens on the port of this name."""

    @abstractmethod
    def comes_back(self, name: str) -> bool:
        """True if a part that does not serve just now is about to by itself."""

    @abstractmethod
    def kill(self, name: str) -> str:
        """End a part as a crash would; the answer says what that means. Raises NotRunningError."""

    @abstractmethod
    def stop(self, name: str) -> str:
        """End a part gracefully; it stays down until it is started."""

    @abstractmethod
    def start(self, name: str) -> str:
        """Start a part; returns once its process runs, and says what it waits for."""

    @abstractmethod
    def logs(self) -> dict[str, Path]:
        """The log of each part that has one."""

    def added_lines(self, name: str | None, since: datetime) -> Iterator[tuple[str, str]]:
        """What parts, or one of them, write from then on, where their logs are no files that grow."""
        raise NotImplementedError(f"the logs of mode {self.mode} are files")

    def down(self, *, wipe: bool, progress: Progress) -> None:
        """Stop everything, and with `wipe` remove its data; harmless when nothing runs."""
        if not self.layout.data_dir.exists() and not self.status().anything_runs:
            return
        with self.layout.locked():
            edge.stop(self.layout)
            self.end(wipe=wipe, progress=progress)
            shutil.rmtree(self.layout.run_dir, ignore_errors=True)
            if wipe:
                self.layout.wipe()
                progress(Step(name="data", state=StepState.DONE, detail=f"removed {self.layout.data_dir}"))

    def url(self, name: str) -> str:
        """Where clients reach a service or store of this very system.

        What another system has at that address is never given out: raises NotRunningError at once, or after
        a while where the part is being started again.
        """
        url = self.store_url(name) if name in STORES else client_url(spec_of(name), self.ports)
        if url is None:
            raise UnknownPartError(f"{name} has no port for clients")
        port = name if name in STORES else f"{name}.http"
        if self.owns(port):
            return url
        if self.comes_back(name) and processes.wait_until(lambda: self.owns(port), COMES_BACK_SECONDS):
            return url
        raise self.not_running(name)

    def not_running(self, name: str) -> NotRunningError:
        """The error for a part that does not run, or does not take clients."""
        what = f"{name} does not answer: that of {self.layout.data_dir} does not run"
        return NotRunningError(f"{what}; start it with: orderctl up")

    def wait_services(
        self,
        progress: Progress,
        ask: Callable[[str], Readiness],
        gave_up: Callable[[str], str],
        log: Callable[[str], Path],
    ) -> None:
        """Follow the services until all are ready; raises PartFailedError for one that gave up or is late."""
        deadline = time.monotonic() + READY_SECONDS
        waiting = list(SERVICES)
        while waiting:
            for name in list(waiting):
                answer = ask(name)
                if answer.ready:
                    waiting.remove(name)
                    progress(Step(name=name, state=StepState.DONE, detail=self.address(name)))
                    continue
                progress(Step(name=name, state=StepState.WORKING, detail=answer.reason))
                late = f"not ready: {answer.reason}" if time.monotonic() > deadline else ""
                if what := gave_up(name) or late:
                    progress(Step(name=name, state=StepState.FAILED, detail=what))
                    raise PartFailedError(f"{name}: {what}", log=log(name))
            if waiting:
                time.sleep(POLL_SECONDS)

    def address(self, name: str) -> str:
        """Where a service is found, by clients or else by operators."""
        return client_url(spec_of(name), self.ports) or operations_url(spec_of(name), self.ports)

    @property
    def redis_url(self) -> str:
        """Where Redis is, whether it runs or not."""
        return self.store_url(REDIS)

    def store_url(self, name: str) -> str:
        """Where a store is, whether it runs or not; with the operator's log-in where one is needed."""
        return stores.url(self.layout, name, self.ports[name])

    def database_url(self, service: str) -> str:
        """Where the operator finds a service's database. Raises NotRunningError."""
        return f"{self.url(POSTGRES).rpartition('/')[0]}/{service}"

    def redis_cli(self, name: str, arguments: Sequence[str]) -> tuple[list[str], Mapping[str, str]]:
        """The command that speaks to a Redis as operator, with its environment; raises NotRunningError."""
        login = urlsplit(self.url(name))
        command = ["redis-cli", "-h", LOOPBACK, "-p", str(self.ports[name])]
        if not login.password:
            return [*command, *arguments], os.environ
        return (
            [*command, "--user", login.username or "", *arguments],
            {**os.environ, CLI_PASSWORD: login.password},
        )

    def dashboard_token(self) -> str | None:
        """What the dashboard wants before it shows dead letters; None where it wants nothing of us."""
        return None

    def store_status(self, name: str, pid: int | None) -> StoreStatus:
        """A store as it is now."""
        ready = self.owns(name) and stores.ready(self.layout, name, self.ports[name])
        return StoreStatus(name=name, url=self.store_url(name), pid=pid, ready=ready)

    def service_status(self, name: str, pid: int | None, answer: Readiness) -> ServiceStatus:
        """A service that answered so."""
        return ServiceStatus(
            name=name,
            url=client_url(spec_of(name), self.ports),
            ops_url=operations_url(spec_of(name), self.ports),
            pid=pid,
            ready=answer.ready,
            reason=answer.reason,
        )


def known(name: str) -> str:
    """The name, if a part has it; raises UnknownPartError."""
    if name not in PARTS:
        raise UnknownPartError(f"{name} is none of {', '.join(PARTS)}")
    return name
