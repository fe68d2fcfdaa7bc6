"""The whole pipeline in containers: the compose file brought up, looked at, broken and taken down."""

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from orderctl.docker import DEFAULT_PASSWORD, provision
from orderctl.docker.compose import PORT_VARIABLES, Compose, ports_of_part
from orderctl.docker.containers import Container, containers_of, docker, kill_inside, write_log
from orderctl.environment import operator_settings
from orderctl.errors import PartFailedError
from orderctl.exposure import exposure
from orderctl.native import edge, postgres
from orderctl.native.layout import project_root
from orderctl.native.ports import EDGE, LOOPBACK, NODE_NAMES, POSTGRES, STORES
from orderctl.native.services import Readiness, readiness_of, spec_of
from orderctl.progress import Progress, Step, StepState
from orderctl.system import PARTS, BrokerStatus, Mode, ServiceStatus, StoreStatus, System, SystemStatus, known
from shared.messaging.rabbitmq.management import running_together, takes_clients
from shared.redis.rights import OPERATOR
from shared.services import SERVICES

BROKER_USER = "pipeline"
UP_SECONDS = 240
POLL_SECONDS = 0.5
LOG_LINES = 2_000
_PREFIXED = re.compile(r"(?P<part>\S+?)(?:-\d+)?\s+\| (?P<line>.*)")
"""A line as compose prints it: behind the name of its service and the number of the copy."""
PASSWORD_VARIABLE = "RABBITMQ_PASSWORD"  # noqa: S105 - the name of a variable
POSTGRES_PASSWORD_VARIABLE = "POSTGRES_PASSWORD"  # noqa: S105 - the same


class DockerSystem(System):
    """Everything of one compose project. The data folder holds what we know of it."""

    mode: ClassVar[Mode] = Mode.DOCKER
    port_settings: ClassVar[Mapping[str, str]] = PORT_VARIABLES

    def __init__(self, data_dir: Path, *, chosen_ports: Mapping[str, int] | None = None) -> None:
        super().__init__(data_dir, chosen_ports=chosen_ports)
        is_default = data_dir == project_root() / ".data" / self.mode
        self.compose = Compose(self.layout, self.ports, is_default=is_default)

    @classmethod
    def is_offered(cls) -> bool:
        return provision.is_offered()

    # --- everything --------------------------------------------------------------------------------------

    def up(self, progress: Progress) -> None:
        """Start whatever is missing; returns when every container is healthy. Raises OrderctlError."""
        with self.layout.locked():
            provision.ensure_engine()
            self.compose.ensure_token()
            self.compose.ensure_secrets()
            provision.ensure_images(self.compose, progress, self.layout.log("build"))
            self._claim_ports(progress)
            self._up(progress)

    def up_edge(self, progress: Progress) -> str:
        """In a container of its own, which makes the gateway's anew: it comes to trust the edge."""
        with self.layout.locked():
            self.compose.add_edge()
            provision.ensure_images(self.compose, progress, self.layout.log("build"))
            self._claim_ports(progress)
            self._up(progress)
        progress(Step(name=EDGE, state=StepState.DONE, detail=edge.url(self.ports)))
        return edge.url(self.ports)

    def end(self, *, wipe: bool, progress: Progress) -> None:
        """Stop and remove the containers, those of a profile too; with `wipe` their volumes as well."""
        words = ["--profile", "observability", "down", *(["--volumes"] if wipe else [])]
        self._follow(progress, words, wanted_running=False)

    def status(self) -> SystemStatus:
        """Look at every part now, side by side; an engine that does not answer has nothing running."""
        found = self._containers()
        with ThreadPoolExecutor(len(PARTS)) as pool:
            services = pool.map(lambda name: self._service_status(name, found.get(name)), SERVICES)
            stores = pool.map(lambda name: self._store_status(name, found.get(name)), STORES)
            nodes = pool.map(lambda node: self._node_status(node, found.get(node)), NODE_NAMES)
            return SystemStatus(
                mode=self.mode,
                data_dir=self.layout.data_dir,
                services=tuple(services),
                rabbitmq=tuple(nodes),
                stores=tuple(stores),
            )

    def exposure(self) -> str | None:
        """Inside the gateway listens on all addresses; what counts is where its port is published."""
        settings = operator_settings()
        hosts = self.compose.published_on("api_gateway")
        return next((fault for host in hosts if (fault := exposure(host, settings))), None)

    def owns(self, port: str) -> bool:
        """The engine says which container publishes a port."""
        return self._publishes(self._containers().get(port.partition(".")[0]), port)

    def comes_back(self, name: str) -> bool:
        """Its restart policy starts a service again whose process ended."""
        return name in SERVICES and name in self._containers()

    def store_url(self, name: str) -> str:
        if name != POSTGRES:
            return super().store_url(name)
        password = operator_settings().get(POSTGRES_PASSWORD_VARIABLE) or DEFAULT_PASSWORD
        return postgres.url_of(postgres.OPERATOR, password, self.ports[name])

    def dashboard_token(self) -> str | None:
        return self.compose.token()

    def redis_cli(self, name: str, arguments: Sequence[str]) -> tuple[list[str], Mapping[str, str]]:
        """The program in its own container, where the environment has its password."""
        self.url(name)
        terminal = () if sys.stdin.isatty() else ("--no-TTY",)
        return self.compose.command(
            "exec", *terminal, name, "redis-cli", "--user", OPERATOR, *arguments
        ), self.compose.environment()

    # --- logs --------------------------------------------------------------------------------------------

    def logs(self) -> dict[str, Path]:
        """The end of each container's output, copied into a file now."""
        for name, container in self._containers().items():
            write_log(container, self.layout.log(name), LOG_LINES)
        names = (*PARTS, "compose", "build")
        return {name: self.layout.log(name) for name in names if self.layout.log(name).exists()}

    def added_lines(self, name: str | None, since: datetime) -> Iterator[tuple[str, str]]:
        """What the containers write from then on, each line with the name of its part, until interrupted."""
        words = ["logs", "--follow", "--no-color", "--since", since.isoformat(), *([name] if name else [])]
        command, environment = self.compose.command(*words), self.compose.environment()
        with (
            contextlib.suppress(KeyboardInterrupt),
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as following,
        ):
            for line in following.stdout or ():
                if found := _PREFIXED.match(line.decode("utf-8", "replace").rstrip("\n")):
                    yield found["part"], found["line"]

    # --- one part ----------------------------------------------------------------------------------------

    def kill(self, name: str) -> str:
        """SIGKILL: inside its container for a service, which comes back; else to the container."""
        container = self._running(name)
        if container is None:
            raise self.not_running(name)
        if name in SERVICES:
            kill_inside(container)
            return f"{name} killed; its restart policy starts it again"
        docker("kill", container.id)
        return f"{name} killed; bring it back with: orderctl start {name}"

    def stop(self, name: str) -> str:
        """Stop one part gracefully; it stays down until it is started."""
        if self._running(name) is None:
            raise self.not_running(name)
        self.compose.run("stop", name)
        return f"{name} stopped; bring it back with: orderctl start {name}"

    def start(self, name: str) -> str:
        """Start one part; returns once its process runs."""
        running = self._running(name)
        if running is not None:
            return f"{name} runs already{_with_pid(running)}"
        self.compose.run("up", "--detach", "--no-deps", "--no-recreate", "--no-build", name)
        found = self._containers()
        if name not in found or not found[name].running:
            raise self._failure(name, "ended at once")
        peers = [peer for peer in NODE_NAMES if peer != name and not _runs(found.get(peer))]
        waits = f"; it may wait for {' and '.join(peers)} before it serves" if peers else ""
        return f"{name} started{_with_pid(found[name])}{waits if name in NODE_NAMES else ''}"

    # --- inside ------------------------------------------------------------------------------------------

    def _containers(self) -> dict[str, Container]:
        try:
            return containers_of(self.compose.project)
        except PartFailedError:
            return {}

    def _running(self, name: str) -> Container | None:
        container = containers_of(self.compose.project).get(known(name))
        return container if _runs(container) else None

    @property
    def _parts(self) -> tuple[str, ...]:
        return (*PARTS, EDGE) if self.compose.has_edge else PARTS

    def _claim_ports(self, progress: Progress) -> None:
        """Settle the ports that no running container of ours publishes yet."""
        found = self._containers()
        published = {port for each in found.values() if each.running for port in each.published}
        wanted = [port for part in self._parts for port in ports_of_part(part)]
        self.ports.claim([port for port in wanted if self.ports[port] not in published], progress)

    def _up(self, progress: Progress) -> None:
        words = ["up", "--detach", "--no-build", "--wait", "--wait-timeout", str(UP_SECONDS)]
        fault = self._follow(progress, words, wanted_running=True)
        found = self._containers()
        if fault and any(name in found and found[name].restarts for name in (*NODE_NAMES, *STORES)):
            # compose gives up on whatever ends while it starts, although its restart policy brings it back
            fault = self._follow(progress, words, wanted_running=True)
            found = self._containers()
        ill = [name for name in self._parts if name not in found or not found[name].healthy]
        if ill or fault:
            name = next(
                (name for name in ill if name in found and found[name].restarts), (*ill, "compose")[0]
            )
            raise self._failure(name, _state(found.get(name)) if ill else fault)

    def _follow(self, progress: Progress, words: list[str], *, wanted_running: bool) -> str:
        """Run compose, showing each part's state meanwhile; the answer is what it failed with, or nothing."""
        log = self.layout.log("compose")
        with log.open("wb") as output:
            process = self.compose.start(output, *words)
            try:
                while process.poll() is None:
                    self._report(progress, wanted_running=wanted_running)
                    time.sleep(POLL_SECONDS)
            finally:
                process.terminate()
                process.wait()
        self._report(progress, wanted_running=wanted_running)
        if not process.returncode:
            return ""
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        if not wanted_running:
            raise PartFailedError(f"docker compose {words[-1]}: {''.join(last)}", log=log)
        return "".join(last) or f"docker compose ended with {process.returncode}"

    def _report(self, progress: Progress, *, wanted_running: bool) -> None:
        found = self._containers()
        for name in PARTS:
            container = found.get(name)
            if wanted_running:
                done = container is not None and container.healthy
                detail = self.address(name) if done else _state(container)
            else:
                done, detail = not _runs(container), "stopped" if not _runs(container) else "draining"
            progress(Step(name=name, state=StepState.DONE if done else StepState.WORKING, detail=detail))

    def _failure(self, name: str, what: str) -> PartFailedError:
        container = self._containers().get(name)
        if container is not None:
            write_log(container, self.layout.log(name), LOG_LINES)
        return PartFailedError(f"{name}: {what}", log=self.layout.log(name if container else "compose"))

    # --- status ------------------------------------------------------------------------------------------

    def address(self, name: str) -> str:
        if name in SERVICES:
            return super().address(name)
        return f"{LOOPBACK}:{self.ports[ports_of_part(name)[0]]}"

    def _service_status(self, name: str, container: Container | None) -> ServiceStatus:
        spec = spec_of(name)
        answer = Readiness(ready=False, reason="not running")
        if container is not None and container.running:
            if self._publishes(container, spec.operations_port_name):
                answer = readiness_of(spec, self.ports)
            else:
                reason = "" if container.healthy else container.health
                answer = Readiness(ready=container.healthy, reason=reason)
        return self.service_status(name, _pid(container), answer)

    def _store_status(self, name: str, container: Container | None) -> StoreStatus:
        """Of one whose port is not published, what its container says of itself."""
        status = self.store_status(name, _pid(container))
        if container is None or not container.running or self._publishes(container, name):
            return status
        return replace(status, ready=container.healthy)

    def _node_status(self, node: str, container: Container | None) -> BrokerStatus:
        password = operator_settings().get(PASSWORD_VARIABLE) or DEFAULT_PASSWORD
        credentials = f"{BROKER_USER}:{password}"
        amqp, management = self.ports[f"{node}.amqp"], self.ports[f"{node}.management"]
        management_url = f"http://{credentials}@{LOOPBACK}:{management}"
        seen = running_together(management_url) if _runs(container) and takes_clients(amqp) else ()
        return BrokerStatus(
            node=node,
            amqp_url=f"amqp://{credentials}@{LOOPBACK}:{amqp}/",
            management_url=management_url,
            pid=_pid(container),
            running=node in seen,
        )

    def _publishes(self, container: Container | None, port: str) -> bool:
        return container is not None and container.running and self.ports[port] in container.published


def _runs(container: Container | None) -> bool:
    return container is not None and container.running


def _pid(container: Container | None) -> int | None:
    return container.pid() if container else None


def _state(container: Container | None) -> str:
    if container is None:
        return "waiting"
    if container.restarts and not container.healthy:
        return f"ended {container.restarts} times"
    return (container.health or "running") if container.running else "not running"


def _with_pid(container: Container) -> str:
    pid = container.pid()
    return f", pid {pid}" if pid else ""
