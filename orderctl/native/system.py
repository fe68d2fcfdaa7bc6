"""The whole pipeline in native mode: the cluster, the supervisor and the services, brought up and down."""

import shutil
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from orderctl.errors import PartFailedError, UnknownPartError
from orderctl.native import packages, processes, redis, supervisor
from orderctl.native.cluster import PARTS, NativeCluster
from orderctl.native.layout import Layout
from orderctl.native.ports import NODE_NAMES, REDIS
from orderctl.native.services import READY_SECONDS, NativeServices, ports_of
from orderctl.progress import Progress, Step, StepState, silent
from orderctl.system import NodeStatus, RedisStatus, ServiceStatus, SystemStatus
from shared.services import SERVICES

MODE = "native"
PICK_UP_SECONDS = 12.0
CRASHES_AT_START = 3
POLL_SECONDS = 0.15


class NativeSystem:
    """Everything of one data folder; implements `System`."""

    def __init__(self, data_dir: Path, *, chosen_ports: Mapping[str, int] | None = None) -> None:
        """`chosen_ports` is keyed by the setting that chose the port, such as GATEWAY_PORT."""
        self.layout = Layout(data_dir.resolve())
        self._ports = ports_of(self.layout, chosen_ports or {})

    # --- everything --------------------------------------------------------------------------------------

    def up(self, progress: Progress) -> None:
        """Start whatever is missing; returns when every service is ready. Raises OrderctlError."""
        with self.layout.locked():
            packages.ensure(progress, self.layout.log("packages"))
            cluster = self._cluster(progress)
            cluster.start()
            services = NativeServices(cluster)
            self._prepare_services(services, progress)
            if not self._supervised(services):
                supervisor.renew(self.layout)
            _wait_ready(services, progress)

    def down(self, *, wipe: bool, progress: Progress) -> None:
        """Stop services, then brokers and Redis, then epmd; with `wipe` remove the data folder."""
        if not self.layout.data_dir.exists():
            return
        with self.layout.locked():
            supervisor.end(self.layout)
            self._stop_all(progress)
            shutil.rmtree(self.layout.run_dir, ignore_errors=True)
            if wipe:
                self.layout.wipe()
                progress(Step(name="data", state=StepState.DONE, detail=f"removed {self.layout.data_dir}"))

    def status(self) -> SystemStatus:
        """Look at every part now, side by side, so that a frozen one delays the answer once."""
        cluster = self._cluster()
        services = NativeServices(cluster)
        with ThreadPoolExecutor(len(PARTS) + len(SERVICES)) as pool:
            service_answers = [pool.submit(_service_status, services, name) for name in SERVICES]
            node_answers = [pool.submit(_node_status, cluster, node) for node in NODE_NAMES]
            redis_pid = cluster.node_pid(REDIS)
            redis_ready = redis_pid is not None and redis.ready(self._ports[REDIS])
            return SystemStatus(
                mode=MODE,
                data_dir=self.layout.data_dir,
                services=tuple(answer.result() for answer in service_answers),
                rabbitmq=tuple(answer.result() for answer in node_answers),
                redis=RedisStatus(url=cluster.redis_url, pid=redis_pid, ready=redis_ready),
            )

    def service_url(self, name: str) -> str:
        """Where clients reach a service; raises UnknownPartError for one without a port for them."""
        url = NativeServices(self._cluster()).url(name)
        if url is None:
            raise UnknownPartError(f"{name} has no port for clients")
        return url

    def dashboard_token(self) -> str | None:
        """See `System`: on loopback nobody is asked for one, and a chosen one is the operator's."""
        return None

    def logs(self) -> dict[str, Path]:
        """The log of each part that has one."""
        names = (*SERVICES, *PARTS, supervisor.NAME, "epmd", "packages")
        return {name: self.layout.log(name) for name in names if self.layout.log(name).exists()}

    # --- one part ----------------------------------------------------------------------------------------

    def kill(self, name: str) -> str:
        """SIGKILL one part by its recorded pid."""
        if name in SERVICES:
            killed = NativeServices(self._cluster()).kill(name)
            after = "the supervisor starts it again"
        else:
            killed = self._cluster().kill(_part(name))
            after = f"bring it back with: orderctl start {name}"
        return f"{name} killed; {after}" if killed else f"{name} was not running"

    def stop(self, name: str) -> str:
        """Stop one part gracefully; a service stays down until it is started."""
        if name not in SERVICES:
            stopped = self._cluster().stop_part(_part(name))
        else:
            self.layout.create()
            with self.layout.spawning():
                self.layout.stopped(name).touch()
            stopped = NativeServices(self._cluster()).stop(name)
        back = f"bring it back with: orderctl start {name}"
        return f"{name} stopped; {back}" if stopped else f"{name} was not running"

    def start(self, name: str) -> str:
        """Start one part; returns once its process runs."""
        if name in SERVICES:
            return self._start_service(name)
        cluster = self._cluster()
        running = cluster.node_pid(_part(name))
        if running:
            return f"{name} runs already, pid {running}"
        record = cluster.start_part(name)
        if name == REDIS:
            cluster.wait_redis()
            return f"redis runs, pid {record.pid}, at {cluster.redis_url}"
        missing = cluster.missing_peers(name)
        waits = f"; it may wait for {' and '.join(missing)} before it serves" if missing else ""
        return f"{name} started, pid {record.pid}{waits}"

    # --- inside ------------------------------------------------------------------------------------------

    def _cluster(self, progress: Progress = silent) -> NativeCluster:
        return NativeCluster(self.layout.data_dir, ports=self._ports, progress=progress)

    def _start_service(self, name: str) -> str:
        services = NativeServices(self._cluster())
        if services.running(name):
            return f"{name} runs already, pid {services.pid(name)}"
        with self.layout.locked():
            self._ports.claim(_service_ports(name))
            self.layout.stopped(name).unlink(missing_ok=True)
            supervisor.renew(self.layout)
        if not processes.wait_until(lambda: services.running(name) is not None, PICK_UP_SECONDS):
            raise PartFailedError(f"{name}: the supervisor did not start it", log=self.layout.log(name))
        return f"{name} started, pid {services.pid(name)}, {services.operations_url(name)}"

    def _supervised(self, services: NativeServices) -> bool:
        """True if there is nothing for a new supervisor to do: all services run under the present one."""
        everything_runs = all(services.running(name) for name in SERVICES)
        return everything_runs and processes.running(self.layout, supervisor.NAME) is not None

    def _prepare_services(self, services: NativeServices, progress: Progress) -> None:
        """Settle ports, and end services that run with addresses of before, for the supervisor to start."""
        absent = [name for name in SERVICES if services.running(name) is None]
        self._ports.claim([port for name in absent for port in _service_ports(name)], progress)
        for name in SERVICES:
            self.layout.stopped(name).unlink(missing_ok=True)
            record = services.running(name)
            if record and record.fingerprint != services.fingerprint(name):
                progress(Step(name=name, state=StepState.WORKING, detail="restarting with new addresses"))
                services.stop(name)

    def _stop_all(self, progress: Progress) -> None:
        cluster = self._cluster()
        services = NativeServices(cluster)
        for name in SERVICES:
            progress(Step(name=name, state=StepState.WORKING, detail="draining"))
        with ThreadPoolExecutor(len(SERVICES)) as pool:
            list(pool.map(services.stop, SERVICES))
        for name in SERVICES:
            progress(Step(name=name, state=StepState.DONE, detail="stopped"))
        for name in PARTS:
            progress(Step(name=name, state=StepState.WORKING, detail="stopping"))
        cluster.stop()
        for name in PARTS:
            progress(Step(name=name, state=StepState.DONE, detail="stopped"))


def _wait_ready(services: NativeServices, progress: Progress) -> None:
    """Follow the services until all are ready; raises PartFailedError early for one that keeps ending."""
    deadline = time.monotonic() + READY_SECONDS
    pids: dict[str, set[int]] = {name: set() for name in SERVICES}
    waiting = list(SERVICES)
    while waiting:
        for name in list(waiting):
            answer = services.readiness(name)
            pids[name] |= {services.pid(name) or 0} - {0}
            if answer.ready:
                waiting.remove(name)
                detail = services.url(name) or services.operations_url(name)
                progress(Step(name=name, state=StepState.DONE, detail=detail))
                continue
            progress(Step(name=name, state=StepState.WORKING, detail=answer.reason))
            if len(pids[name]) > CRASHES_AT_START or time.monotonic() > deadline:
                ended = len(pids[name]) > CRASHES_AT_START
                what = f"ended {CRASHES_AT_START} times" if ended else f"not ready: {answer.reason}"
                progress(Step(name=name, state=StepState.FAILED, detail=what))
                raise PartFailedError(f"{name}: {what}", log=services.log(name))
        if waiting:
            time.sleep(POLL_SECONDS)


def _service_status(services: NativeServices, name: str) -> ServiceStatus:
    answer = services.readiness(name)
    return ServiceStatus(
        name=name,
        url=services.url(name),
        ops_url=services.operations_url(name),
        pid=services.pid(name),
        ready=answer.ready,
        reason=answer.reason,
    )


def _node_status(cluster: NativeCluster, node: str) -> NodeStatus:
    return NodeStatus(
        node=node,
        amqp_url=cluster.amqp_url(node),
        management_url=cluster.management_url(node),
        pid=cluster.node_pid(node),
        running=bool(cluster.seen_by(node)),
    )


def _service_ports(name: str) -> tuple[str, ...]:
    return tuple(SERVICES[name].ports.values())


def _part(name: str) -> str:
    if name not in PARTS:
        raise UnknownPartError(f"{name} is none of {', '.join((*PARTS, *SERVICES))}")
    return name
