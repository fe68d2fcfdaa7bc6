"""The whole pipeline in native mode: the cluster, the supervisor and the services, brought up and down."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar, Final

from orderctl.errors import NotRunningError, PartFailedError
from orderctl.native import packages, processes, supervisor
from orderctl.native.cluster import PARTS, NativeCluster
from orderctl.native.ports import EPMD, LOOPBACK, NODE_NAMES, STORES
from orderctl.native.services import NativeServices
from orderctl.progress import Progress, Step, StepState, silent
from orderctl.system import BrokerStatus, Mode, ServiceStatus, System, SystemStatus, known
from shared.services import SERVICES

PICK_UP_SECONDS: Final = 12.0
CRASHES_AT_START: Final = 3


class NativeSystem(System):
    """Everything of one data folder."""

    mode: ClassVar[Mode] = Mode.NATIVE

    @classmethod
    def is_offered(cls) -> bool:
        return not packages.missing() or packages.installable()

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
            pids: dict[str, set[int | None]] = defaultdict(set)

            def gave_up(name: str) -> str:
                pids[name].add(services.pid(name))
                return (
                    f"ended {CRASHES_AT_START} times" if len(pids[name] - {None}) > CRASHES_AT_START else ""
                )

            self.wait_services(progress, services.readiness, gave_up, services.log)

    def end(self, *, wipe: bool, progress: Progress) -> None:
        """Stop services, then brokers and stores, then epmd."""
        supervisor.end(self.layout)
        cluster = self._cluster()
        services = NativeServices(cluster)
        self._end(SERVICES, "draining", services.stop, progress)
        self._end(PARTS, "stopping", cluster.stop_part, progress)
        cluster.stop()

    def status(self) -> SystemStatus:
        """Look at every part now, side by side, so that a frozen one delays the answer once."""
        cluster = self._cluster()
        services = NativeServices(cluster)
        with ThreadPoolExecutor(len(PARTS) + len(SERVICES)) as pool:
            service_answers = [pool.submit(self._service_status, services, name) for name in SERVICES]
            store_answers = [pool.submit(self.store_status, name, cluster.node_pid(name)) for name in STORES]
            node_answers = [pool.submit(_node_status, cluster, node) for node in NODE_NAMES]
            return SystemStatus(
                mode=self.mode,
                data_dir=self.layout.data_dir,
                services=tuple(answer.result() for answer in service_answers),
                rabbitmq=tuple(answer.result() for answer in node_answers),
                stores=tuple(answer.result() for answer in store_answers),
            )

    def owns(self, port: str) -> bool:
        """The process that was started is asked of the kernel."""
        return self._cluster().owns(port)

    def comes_back(self, name: str) -> bool:
        """The supervisor starts services again, and nothing else."""
        supervised = processes.running(self.layout, supervisor.NAME) is not None
        return supervised and name in SERVICES and not self.layout.stopped(name).exists()

    def logs(self) -> dict[str, Path]:
        """The log of each part that has one."""
        names = (*SERVICES, *PARTS, supervisor.NAME, EPMD, "packages")
        return {name: self.layout.log(name) for name in names if self.layout.log(name).exists()}

    # --- one part ----------------------------------------------------------------------------------------

    def kill(self, name: str) -> str:
        """SIGKILL one part by its recorded pid."""
        cluster = self._cluster()
        if not (NativeServices(cluster) if known(name) in SERVICES else cluster).kill(name):
            raise self.not_running(name)
        if name in SERVICES:
            return f"{name} killed; the supervisor starts it again"
        return f"{name} killed; bring it back with: orderctl start {name}"

    def stop(self, name: str) -> str:
        """Stop one part gracefully; a service stays down until it is started."""
        cluster = self._cluster()
        if known(name) not in SERVICES:
            stopped = cluster.stop_part(name)
        else:
            self._require_brought_up()
            with self.layout.spawning():
                self.layout.stopped(name).touch()
            stopped = NativeServices(cluster).stop(name)
        state = "stopped" if stopped else "was not running"
        return f"{name} {state}; bring it back with: orderctl start {name}"

    def start(self, name: str) -> str:
        """Start one part; returns once its process runs."""
        if name in SERVICES:
            return self._start_service(name)
        cluster = self._cluster()
        running = cluster.node_pid(known(name))
        if running:
            return f"{name} runs already, pid {running}"
        self._require_brought_up()
        record = cluster.start_part(name)
        if name in STORES:
            cluster.wait_store(name)
            return f"{name} runs, pid {record.pid}, at {LOOPBACK}:{self.ports[name]}"
        missing = cluster.missing_peers(name)
        waits = f"; it may wait for {' and '.join(missing)} before it serves" if missing else ""
        return f"{name} started, pid {record.pid}{waits}"

    # --- inside ------------------------------------------------------------------------------------------

    def _cluster(self, progress: Progress = silent) -> NativeCluster:
        return NativeCluster(self.layout.data_dir, ports=self.ports, progress=progress)

    def _start_service(self, name: str) -> str:
        services = NativeServices(self._cluster())
        if services.running(name):
            return f"{name} runs already, pid {services.pid(name)}"
        self._require_brought_up()
        with self.layout.locked():
            self.ports.claim(_service_ports(name))
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
        self.ports.claim([port for name in absent for port in _service_ports(name)], progress)
        for name in SERVICES:
            self.layout.stopped(name).unlink(missing_ok=True)
            record = services.running(name)
            if record and record.fingerprint != services.fingerprint(name):
                progress(Step(name=name, state=StepState.WORKING, detail="restarting with new addresses"))
                services.stop(name)

    def _require_brought_up(self) -> None:
        """One part of a system that never was, or has been ended, has no others to work with."""
        if not self.layout.run_dir.exists():
            raise NotRunningError(f"nothing of {self.layout.data_dir} runs; start it with: orderctl up")

    def _end(self, names: Iterable[str], doing: str, end: Callable[[str], bool], progress: Progress) -> None:
        for name in names:
            progress(Step(name=name, state=StepState.WORKING, detail=doing))
        with ThreadPoolExecutor() as pool:
            list(pool.map(end, names))
        for name in names:
            progress(Step(name=name, state=StepState.DONE, detail="stopped"))

    def _service_status(self, services: NativeServices, name: str) -> ServiceStatus:
        return self.service_status(name, services.pid(name), services.readiness(name))


def _node_status(cluster: NativeCluster, node: str) -> BrokerStatus:
    return BrokerStatus(
        node=node,
        amqp_url=cluster.amqp_url(node),
        management_url=cluster.management_url(node),
        pid=cluster.node_pid(node),
        running=bool(cluster.seen_by(node)),
    )


def _service_ports(name: str) -> tuple[str, ...]:
    return tuple(SERVICES[name].ports.values())
