"""The whole pipeline in one background process: brought up, looked at, and ended with everything in it."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

from orderctl.embedded import NODE, PROCESS, WARNING, database_url
from orderctl.errors import UnknownPartError
from orderctl.native import edge, processes
from orderctl.native.layout import project_root
from orderctl.native.ports import LOOPBACK, POSTGRES, REDIS
from orderctl.native.secrets import operator_setting
from orderctl.native.services import (
    DRAIN_GRACE_SECONDS,
    PORTS_BY_SETTING,
    Readiness,
    readiness_of,
    service_urls,
    spec_of,
    urls_behind_the_gateway,
    urls_for_browsers,
)
from orderctl.progress import Progress, Step, StepState, note
from orderctl.system import BrokerStatus, Mode, StoreStatus, System, SystemStatus, known
from shared.services import CACHE, SERVICES


class EmbeddedSystem(System):
    """Everything of one data folder, which holds logs and nothing that lasts."""

    mode: ClassVar[Mode] = Mode.EMBEDDED
    keeps_data: ClassVar[bool] = False

    @classmethod
    def is_offered(cls) -> bool:
        return True

    # --- everything --------------------------------------------------------------------------------------

    def up(self, progress: Progress) -> None:
        """Start the process unless it runs; returns when every service is ready. Raises OrderctlError."""
        with self.layout.locked():
            record = processes.running(self.layout, PROCESS)
            if record is None:
                self.ports.claim([REDIS, *PORTS_BY_SETTING.values()], progress)
                record = self._spawn()
            self.wait_services(
                progress,
                self._readiness,
                lambda _: "" if record.alive else "the process ended",
                lambda _: self.layout.log(PROCESS),
            )
        note(progress, WARNING)

    def end(self, *, wipe: bool, progress: Progress) -> None:
        """Let the process drain and end, and with it all orders."""
        record = processes.running(self.layout, PROCESS)
        if record is not None:
            progress(Step(name=PROCESS, state=StepState.WORKING, detail="draining"))
            processes.terminate(record, DRAIN_GRACE_SECONDS)
            progress(Step(name=PROCESS, state=StepState.DONE, detail="stopped"))

    def status(self) -> SystemStatus:
        """Look at every part now. The services share a process; broker and store have none of their own."""
        record = processes.running(self.layout, PROCESS)
        pid = record.pid if record else None
        with ThreadPoolExecutor(len(SERVICES)) as pool:
            services = tuple(
                pool.map(lambda name: self.service_status(name, pid, self._readiness(name)), SERVICES)
            )

        def inside(name: str) -> StoreStatus:
            return StoreStatus(name=name, url="", pid=None, ready=record is not None)

        node = BrokerStatus(node=NODE, amqp_url="", management_url="", pid=None, running=record is not None)
        return SystemStatus(
            mode=self.mode,
            data_dir=self.layout.data_dir,
            services=services,
            rabbitmq=(node,),
            stores=(self.store_status(REDIS, None), *map(inside, (CACHE, POSTGRES))),
            warning=WARNING,
        )

    def store_url(self, name: str) -> str:
        """Without a login: what is on this machine's loopback alone lives no longer than a process."""
        return f"redis://{LOOPBACK}:{self.ports[name]}/0"

    def database_url(self, service: str) -> str:
        """A file of the process that runs."""
        if processes.running(self.layout, PROCESS) is None:
            raise self.not_running(POSTGRES)
        return database_url(self.layout.part(POSTGRES) / service, service)

    def owns(self, port: str) -> bool:
        """One process listens on all of them."""
        record = processes.running(self.layout, PROCESS)
        return record is not None and processes.listens(record, self.ports[port])

    def comes_back(self, name: str) -> bool:
        """What has ended stays down."""
        return False

    def logs(self) -> dict[str, Path]:
        """The log of each service, and of the process around them."""
        names = (*SERVICES, PROCESS)
        return {name: self.layout.log(name) for name in names if self.layout.log(name).exists()}

    # --- one part ----------------------------------------------------------------------------------------

    def kill(self, name: str) -> str:
        """Nothing here is killed, stopped or started alone; raises UnknownPartError with the reason."""
        raise UnknownPartError(
            f"{known(name)} is no process of its own in embedded mode, where one process is everything",
            advice="orderctl down ends all; to break parts: orderctl down, then orderctl up --mode native",
        )

    stop = start = kill

    # --- inside ------------------------------------------------------------------------------------------

    def _spawn(self) -> processes.ProcessRecord:
        return processes.spawn(
            self.layout,
            PROCESS,
            [sys.executable, "-m", "orderctl.embedded", "--data-dir", str(self.layout.data_dir)],
            environment={
                **os.environ,
                "REDIS_URL": self.redis_url,
                "DASHBOARD_NOTICE": WARNING,
                "LOG_FORMAT": "json",
                "PYTHONUNBUFFERED": "1",
                **{setting: str(self.ports[port]) for setting, port in PORTS_BY_SETTING.items()},
                **service_urls(self.ports),
                **edge.trusted_proxies(),
                **operator_setting(self.layout),
                **{k: v for name in SERVICES for k, v in urls_behind_the_gateway(name, self.ports).items()},
                **{k: v for name in SERVICES for k, v in urls_for_browsers(name, self.ports).items()},
            },
            cwd=project_root(),
        )

    def _readiness(self, name: str) -> Readiness:
        record = processes.running(self.layout, PROCESS)
        if record is None:
            return Readiness(ready=False, reason="not running")
        return readiness_of(spec_of(name), self.ports, pid=record.pid)
