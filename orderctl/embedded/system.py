"""The whole pipeline in one background process: brought up, looked at, and ended with everything in it."""

import os
import shutil
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from orderctl.embedded import MODE, NODE, PROCESS, WARNING
from orderctl.errors import PartFailedError, UnknownPartError
from orderctl.native import processes, redis
from orderctl.native.cluster import PARTS
from orderctl.native.layout import Layout, project_root
from orderctl.native.ports import LOOPBACK, REDIS
from orderctl.native.services import (
    DRAIN_GRACE_SECONDS,
    READY_SECONDS,
    Readiness,
    client_url,
    operations_url,
    ports_of,
    readiness_of,
    service_urls,
    spec_of,
)
from orderctl.progress import Progress, Step, StepState, note
from orderctl.system import NodeStatus, RedisStatus, ServiceStatus, SystemStatus
from shared.services import SERVICES

POLL_SECONDS: Final = 0.05


class EmbeddedSystem:
    """Everything of one data folder, which holds logs and nothing that lasts; implements `System`."""

    def __init__(self, data_dir: Path, *, chosen_ports: Mapping[str, int] | None = None) -> None:
        """`chosen_ports` is keyed by the setting that chose the port, such as GATEWAY_PORT."""
        self.layout = Layout(data_dir.resolve())
        self._ports = ports_of(self.layout, chosen_ports or {})

    # --- everything --------------------------------------------------------------------------------------

    def up(self, progress: Progress) -> None:
        """Start the process unless it runs; returns when every service is ready. Raises OrderctlError."""
        with self.layout.locked():
            record = processes.running(self.layout, PROCESS)
            if record is None:
                names = [port for spec in SERVICES.values() for port in spec.ports.values()]
                self._ports.claim([REDIS, *names], progress)
                record = self._spawn()
            self._wait_ready(record, progress)
        note(progress, WARNING)

    def down(self, *, wipe: bool, progress: Progress) -> None:
        """Let the process drain and end, and with it all orders; with `wipe` remove its logs too."""
        if not self.layout.data_dir.exists():
            return
        with self.layout.locked():
            record = processes.running(self.layout, PROCESS)
            if record is not None:
                progress(Step(name=PROCESS, state=StepState.WORKING, detail="draining"))
                processes.terminate(record, DRAIN_GRACE_SECONDS)
                progress(Step(name=PROCESS, state=StepState.DONE, detail="stopped"))
            shutil.rmtree(self.layout.run_dir, ignore_errors=True)
            if wipe:
                self.layout.wipe()
                progress(Step(name="data", state=StepState.DONE, detail=f"removed {self.layout.data_dir}"))

    def status(self) -> SystemStatus:
        """Look at every part now. The services share a process; broker and store have none of their own."""
        record = processes.running(self.layout, PROCESS)
        with ThreadPoolExecutor(len(SERVICES)) as pool:
            services = tuple(pool.map(lambda name: self._service_status(name, record), SERVICES))
        runs = record is not None
        node = NodeStatus(node=NODE, amqp_url="", management_url="", pid=None, running=runs)
        url = f"redis://{LOOPBACK}:{self._ports[REDIS]}/0"
        store = RedisStatus(url=url, pid=None, ready=runs and redis.ready(self._ports[REDIS]))
        return SystemStatus(
            mode=MODE,
            data_dir=self.layout.data_dir,
            services=services,
            rabbitmq=(node,),
            redis=store,
            warning=WARNING,
        )

    def service_url(self, name: str) -> str:
        """Where clients reach a service; raises UnknownPartError for one without a port for them."""
        url = client_url(spec_of(name), self._ports)
        if url is None:
            raise UnknownPartError(f"{name} has no port for clients")
        return url

    def dashboard_token(self) -> str | None:
        """See `System`: on loopback nobody is asked for one, and a chosen one is the operator's."""
        return None

    def logs(self) -> dict[str, Path]:
        """The log of each service, and of the process around them."""
        names = (*SERVICES, PROCESS)
        return {name: self.layout.log(name) for name in names if self.layout.log(name).exists()}

    # --- one part ----------------------------------------------------------------------------------------

    def kill(self, name: str) -> str:
        """Nothing here can be killed alone; raises UnknownPartError with the reason."""
        raise _no_such_process(name)

    def stop(self, name: str) -> str:
        """Nothing here can be stopped alone; raises UnknownPartError with the reason."""
        raise _no_such_process(name)

    def start(self, name: str) -> str:
        """Nothing here can be started alone; raises UnknownPartError with the reason."""
        raise _no_such_process(name)

    # --- inside ------------------------------------------------------------------------------------------

    def _spawn(self) -> processes.ProcessRecord:
        ports = {
            setting: self._ports[port] for spec in SERVICES.values() for setting, port in spec.ports.items()
        }
        return processes.spawn(
            self.layout,
            PROCESS,
            [sys.executable, "-m", "orderctl.embedded", "--data-dir", str(self.layout.data_dir)],
            environment={
                **os.environ,
                "REDIS_URL": f"redis://{LOOPBACK}:{self._ports[REDIS]}/0",
                "DASHBOARD_NOTICE": WARNING,
                "LOG_FORMAT": "json",
                "PYTHONUNBUFFERED": "1",
                **{setting: str(port) for setting, port in ports.items()},
                **service_urls(self._ports),
            },
            cwd=project_root(),
        )

    def _wait_ready(self, record: processes.ProcessRecord, progress: Progress) -> None:
        deadline = time.monotonic() + READY_SECONDS
        waiting = list(SERVICES)
        while waiting:
            for name in list(waiting):
                answer = readiness_of(spec_of(name), self._ports, pid=record.pid)
                state, detail = StepState.WORKING, answer.reason
                if answer.ready:
                    waiting.remove(name)
                    state = StepState.DONE
                    detail = client_url(spec_of(name), self._ports) or operations_url(
                        spec_of(name), self._ports
                    )
                progress(Step(name=name, state=state, detail=detail))
            if waiting and (not record.alive or time.monotonic() > deadline):
                what = "not ready in time" if record.alive else "the process ended"
                for name in waiting:
                    progress(Step(name=name, state=StepState.FAILED, detail=what))
                raise PartFailedError(f"embedded mode: {what}", log=self.layout.log(PROCESS))
            if waiting:
                time.sleep(POLL_SECONDS)

    def _service_status(self, name: str, record: processes.ProcessRecord | None) -> ServiceStatus:
        spec = spec_of(name)
        answer = (
            readiness_of(spec, self._ports, pid=record.pid)
            if record
            else Readiness(ready=False, reason="not running")
        )
        return ServiceStatus(
            name=name,
            url=client_url(spec, self._ports),
            ops_url=operations_url(spec, self._ports),
            pid=record.pid if record else None,
            ready=answer.ready,
            reason=answer.reason,
        )


def _no_such_process(name: str) -> UnknownPartError:
    if name not in SERVICES and name not in PARTS:
        return UnknownPartError(f"{name} is none of {', '.join((*PARTS, *SERVICES))}")
    return UnknownPartError(
        f"{name} is no process of its own in embedded mode, where one process is everything",
        advice="orderctl down ends all of it; to break parts: orderctl down, then orderctl up --mode native",
    )
