"""The services as processes of this machine: their ports, their environment, their readiness.

`NativeServices` starts a process when it is told to and never by itself; keeping them running is the
supervisor's work. Tests use it directly, with a failpoint or a shorter drain as an override.
"""

import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from orderctl.errors import PartFailedError, UnknownPartError
from orderctl.http import request
from orderctl.native import edge, processes
from orderctl.native.layout import Layout, project_root
from orderctl.native.ports import LOOPBACK, Ports, answers
from orderctl.native.processes import ProcessRecord
from orderctl.native.secrets import operator_setting
from shared.health import PROCESS_HEADER
from shared.redis.rights import users_of
from shared.services import CACHE, DATABASE, SERVICES, STORE, Service

DRAIN_GRACE_SECONDS = 30.0
READY_SECONDS = 45.0
PORTS_BY_SETTING: Mapping[str, str] = {
    setting: port for service in SERVICES.values() for setting, port in service.ports.items()
}
"""The name of each port that a service has, by the setting that moves it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """What `/readyz` answered; `reason` says why not, in the service's own words where it has any."""

    ready: bool
    reason: str = ""


class Surroundings(Protocol):
    """What services are started in: a folder, ports, and the addresses of brokers and stores.

    The native cluster is such a thing; tests also put their services beside a cluster in containers.
    """

    layout: Layout
    ports: Ports

    @property
    def monitoring_urls(self) -> list[str]: ...

    def store_url(self, name: str, login: str) -> str: ...

    def broker_urls(self, user: str) -> list[str]: ...

    def database_url(self, service: str) -> str: ...


class NativeServices:
    """The services that belong to one cluster, in its data folder and on ports of its own.

    `base_environment` is what they inherit (this process' own, if not given); addresses are always ours.
    """

    def __init__(self, cluster: Surroundings, *, base_environment: Mapping[str, str] | None = None) -> None:
        self._cluster = cluster
        self._layout = cluster.layout
        self._base = dict(os.environ if base_environment is None else base_environment)

    def url(self, name: str) -> str | None:
        """Where clients reach the service; None for one that has none."""
        return client_url(spec_of(name), self._cluster.ports)

    def operations_url(self, name: str) -> str:
        """Where `/readyz` and `/metrics` are."""
        return operations_url(spec_of(name), self._cluster.ports)

    def pid(self, name: str) -> int | None:
        """The pid of the service's process; None while it does not run."""
        record = self.running(name)
        return record.pid if record else None

    def running(self, name: str) -> ProcessRecord | None:
        """The service's process, if it runs."""
        return processes.running(self._layout, spec_of(name).name)

    def start(self, name: str, overrides: Mapping[str, str] | None = None) -> ProcessRecord:
        """Start the service if it does not run; returns once its process exists, ready or not."""
        running = self.running(name)
        if running:
            return running
        settings = self.settings(name)
        return processes.spawn(
            self._layout,
            name,
            [sys.executable, "-m", name],
            environment={**self._base, **settings, **(overrides or {})},
            cwd=project_root(),
            fingerprint=self.fingerprint(name),
        )

    def stop(self, name: str) -> bool:
        """SIGTERM: the service drains, then ends; False if it was not running."""
        record = self.running(name)
        return record is not None and processes.terminate(record, DRAIN_GRACE_SECONDS)

    def kill(self, name: str) -> bool:
        """SIGKILL; False if it was not running."""
        record = self.running(name)
        return record is not None and processes.kill(record)

    def readiness(self, name: str, timeout_seconds: float = 2.0) -> Readiness:
        """Ask the service whether it can do its work, and see whether it listens; never raises."""
        record = self.running(name)
        if record is None:
            return Readiness(ready=False, reason="not running")
        return readiness_of(
            spec_of(name),
            self._cluster.ports,
            timeout_seconds,
            pid=record.pid,
            takes_clients=lambda port: processes.listens(record, port),
        )

    def wait_ready(self, names: Iterable[str] = SERVICES, timeout_seconds: float = READY_SECONDS) -> None:
        """Wait until each of these is ready; raises PartFailedError with the reason of one that is not."""
        for name in names:
            self._wait_ready(name, timeout_seconds)

    def _wait_ready(self, name: str, timeout_seconds: float) -> None:
        if not processes.wait_until(lambda: self.readiness(name).ready, timeout_seconds, 0.1):
            reason = self.readiness(name).reason
            raise PartFailedError(f"{name}: not ready: {reason}", log=self._layout.log(name))

    def settings(self, name: str) -> dict[str, str]:
        """The settings that native mode decides: where everything is, and how logs look in a file."""
        ports = {variable: str(self._cluster.ports[port]) for variable, port in spec_of(name).ports.items()}
        return {
            "RABBITMQ_URLS": ",".join(self._cluster.broker_urls(name)),
            "RABBITMQ_MANAGEMENT_URLS": ",".join(self._cluster.monitoring_urls),
            "REDIS_URL": self._cluster.store_url(STORE, name),
            **({"CACHE_URL": self._cluster.store_url(CACHE, name)} if name in users_of(CACHE) else {}),
            "LOG_FORMAT": "json",
            "PYTHONUNBUFFERED": "1",
            **ports,
            **({"DATABASE_URL": self._cluster.database_url(name)} if DATABASE in spec_of(name).needs else {}),
            **(
                service_urls(self._cluster.ports) | {"DASHBOARD_DATA_DIR": str(self._layout.data_dir)}
                if name == "dashboard"
                else {}
            ),
            **urls_behind_the_gateway(name, self._cluster.ports),
            **(edge.trusted_proxies() if name == "api_gateway" else {}),
            **urls_for_browsers(name, self._cluster.ports),
            **(operator_setting(self._layout) if name == "accounts" else {}),
        }

    def fingerprint(self, name: str) -> str:
        """Stands for `settings`: a service whose record has another one runs with addresses of before."""
        text = "\n".join(f"{variable}={value}" for variable, value in sorted(self.settings(name).items()))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def log(self, name: str) -> Path:
        """Where the service's output goes."""
        return self._layout.log(spec_of(name).name)


def service_urls(ports: Ports) -> dict[str, str]:
    """The setting that tells the dashboard where each service has its `/readyz`."""
    urls = (f"{name}={operations_url(spec, ports)}" for name, spec in SERVICES.items())
    return {"DASHBOARD_SERVICE_URLS": ",".join(urls)}


def urls_behind_the_gateway(name: str, ports: Ports) -> dict[str, str]:
    """The settings that tell a service where those with a database are, which are clients' by the gateway."""
    prefix = spec_of(name).prefix
    behind = (spec for spec in SERVICES.values() if DATABASE in spec.needs)
    return {f"{prefix}_{spec.name.upper()}_URL": client_url(spec, ports) or "" for spec in behind}


def urls_for_browsers(name: str, ports: Ports) -> dict[str, str]:
    """The setting by which the page that describes one of the two open ports links to the other's."""
    others = {"api_gateway": "dashboard", "dashboard": "api_gateway"}
    if name not in others:
        return {}
    other = spec_of(others[name])
    return {f"{spec_of(name).prefix}_{other.prefix}_URL": client_url(other, ports) or ""}


def client_url(spec: Service, ports: Ports) -> str | None:
    """Where clients reach a service on these ports; None for one that has none."""
    return f"http://{LOOPBACK}:{ports[f'{spec.name}.http']}" if spec.serves_clients else None


def operations_url(spec: Service, ports: Ports) -> str:
    """Where its `/readyz` and `/metrics` are."""
    return f"http://{LOOPBACK}:{ports[spec.operations_port_name]}"


def readiness_of(
    spec: Service,
    ports: Ports,
    timeout_seconds: float = 2.0,
    *,
    pid: int | None = None,
    takes_clients: Callable[[int], bool] = answers,
) -> Readiness:
    """Ask a service that runs on these ports, as this process if one is given; never raises."""
    try:
        with request(operations_url(spec, ports), "GET", "/readyz", seconds=timeout_seconds) as answer:
            text = answer.read(2_000).decode("utf-8", "replace")
    except OSError as error:
        return Readiness(ready=False, reason=f"runs, no answer yet ({type(error).__name__})")
    answered_by = answer.getheader(PROCESS_HEADER)
    if pid is not None and answered_by != str(pid):
        return Readiness(
            ready=False, reason=f"another process answers on its port ({answered_by or 'unknown'})"
        )
    if answer.status != 200:
        return Readiness(ready=False, reason="; ".join(text.splitlines())[:300])
    if spec.serves_clients and not takes_clients(ports[f"{spec.name}.http"]):
        return Readiness(ready=False, reason="does not take clients yet")
    return Readiness(ready=True)


def spec_of(name: str) -> Service:
    """The service of this name; raises UnknownPartError."""
    try:
        return SERVICES[name]
    except KeyError:
        raise UnknownPartError(f"{name} is none of {', '.join(SERVICES)}") from None
