"""The background process that keeps the services running, as a container engine's restart policy would.

A service that ends for whatever reason is started again on its ports, at once at first and then with growing
pauses; one that the operator stopped is left alone. The ports are kept from other systems meanwhile; where
one was taken all the same, its service moves to another, and the log says so. A service that runs with
addresses of before is ended, and comes back with those of now. Brokers and Redis come back only when they are
asked for, with one exception: a node that gave up its start, which RabbitMQ does when several start side by
side in an unlucky order, was asked for already. What runs is known from the records in the data folder, so
that a new supervisor takes over where another one ended. It bounds the logs of all parts, brokers and Redis
included, while they are written.
"""

import argparse
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from orderctl.environment import chosen_ports
from orderctl.errors import OrderctlError
from orderctl.native import processes, rabbitmq
from orderctl.native.cluster import NativeCluster
from orderctl.native.layout import Layout, project_root
from orderctl.native.ports import NODE_NAMES, Ports
from orderctl.native.processes import ProcessRecord
from orderctl.native.services import PORTS_BY_SETTING, NativeServices
from shared.services import SERVICES

NAME = "supervisor"
POLL_SECONDS = 0.2
STEADY_SECONDS = 10.0
PAUSES_SECONDS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)

Clock = Callable[[], float]


@dataclass(slots=True)
class Restarts:
    """How often one part ended soon after its start, and from when on it may be started again."""

    clock: Clock
    soon: int = 0
    started_at: float | None = None
    due: float | None = None

    def started(self) -> None:
        """Note that the part was started just now."""
        self.started_at, self.due = self.clock(), None

    def ended(self) -> float:
        """Note, once per end, that the part has ended; returns the pause in seconds before its next start."""
        now = self.clock()
        steady = self.started_at is None or now - self.started_at >= STEADY_SECONDS
        self.soon = 0 if steady else min(self.soon + 1, len(PAUSES_SECONDS) - 1)
        self.due = now + PAUSES_SECONDS[self.soon]
        return PAUSES_SECONDS[self.soon]

    def failed(self) -> float:
        """Note that it could not be looked after; returns the pause in seconds before the next attempt."""
        self.started()
        return self.ended()

    def is_due(self) -> bool:
        """True when the pause is over."""
        return self.due is not None and self.clock() >= self.due

    def pauses(self) -> bool:
        """True while nothing is to be done about it."""
        return self.due is not None and not self.is_due()


class Supervisor:
    """Starts what should run and does not; `tick` looks once."""

    def __init__(
        self, cluster: NativeCluster, services: NativeServices, clock: Clock = time.monotonic
    ) -> None:
        self._cluster = cluster
        self._services = services
        self._layout = cluster.layout
        self._ports_seen = 0
        self._restarts = {name: Restarts(clock) for name in (*SERVICES, *NODE_NAMES)}

    def run(self, stop: threading.Event) -> None:
        """Look again and again, until asked to stop or replaced by another supervisor."""
        while not stop.wait(POLL_SECONDS) and self._in_charge():
            self.tick()

    def tick(self) -> None:
        """Start every part that is due. What goes wrong with one is said, tried again, and harms no other."""
        with contextlib.suppress(OSError):  # a full or failing disk: services come first
            self._cluster.ports.hold()
            self._end_outdated()
            for name in self._layout.logged():
                self._layout.trim_log(name)
        for name in SERVICES:
            self._look_after(name, self._look_after_service)
        for node in NODE_NAMES:
            self._look_after(node, self._look_after_node)

    def _look_after(self, name: str, look: Callable[[str], None]) -> None:
        if self._restarts[name].pauses():
            return
        try:
            look(name)
        except (OrderctlError, OSError) as error:
            pause = self._restarts[name].failed()
            say(f"{name} cannot be looked after: {error}; trying again in {pause:g} s")

    def _look_after_service(self, name: str) -> None:
        with self._layout.spawning():
            if not self._layout.stopped(name).exists():
                self._keep(name, self._start_service, self._services.running(name))

    def _end_outdated(self) -> None:
        """Once after ports have changed: a drain may take its time."""
        changed = self._layout.ports.stat().st_mtime_ns if self._layout.ports.exists() else 0
        if changed == self._ports_seen:
            return
        self._ports_seen = changed
        for name in SERVICES:
            running = self._services.running(name)
            if running and running.fingerprint != self._services.fingerprint(name):
                say(f"{name} ({running.pid}) has addresses of before: it is started anew with those of now")
                processes.send(running, signal.SIGTERM)

    def _start_service(self, name: str) -> ProcessRecord:
        self._cluster.ports.claim(SERVICES[name].ports.values(), lambda step: say(step.detail))
        return self._services.start(name)

    def _look_after_node(self, name: str) -> None:
        if rabbitmq.gave_up(self._layout, name):
            self._keep(name, self._cluster.start_part, None)

    def _keep(self, name: str, start: Callable[[str], ProcessRecord], running: ProcessRecord | None) -> None:
        restarts = self._restarts[name]
        if running:
            if restarts.started_at is None or restarts.due is not None:
                restarts.started()
            return
        if restarts.due is None:
            pause = restarts.ended()
            last = processes.read_record(self._layout, name)
            if last:
                say(f"{name} ({last.pid}) has ended{_how(last)}; starting it again in {pause:g} s")
        if restarts.is_due():
            record = start(name)
            restarts.started()
            say(f"{name} started, pid {record.pid}")

    def _in_charge(self) -> bool:
        record = processes.read_record(self._layout, NAME)
        return record is not None and record.pid == os.getpid()


def renew(layout: Layout) -> ProcessRecord:
    """Start the supervisor afresh: what it was pausing for is due at once, and what runs stays as it is."""
    end(layout)
    command = [sys.executable, "-m", "orderctl.native.supervisor", "--data-dir", str(layout.data_dir)]
    return processes.spawn(layout, NAME, command, environment=os.environ, cwd=project_root())


def end(layout: Layout) -> None:
    """End the supervisor and leave everything else as it is."""
    record = processes.running(layout, NAME)
    if record:
        processes.terminate(record, 5.0)


def say(text: str) -> None:
    """One line in the supervisor's log, where the disk takes it."""
    with contextlib.suppress(OSError):
        sys.stdout.write(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {text}\n")
        sys.stdout.flush()


def _how(record: ProcessRecord) -> str:
    code = processes.exit_code(record)
    if code is None:
        return ""
    return f" by {signal.Signals(-code).name}" if code < 0 else f" with status {code}"


def run(data_dir: Path) -> int:
    """What the background process does; returns its exit status."""
    layout = Layout(data_dir)
    ports = Ports.of_system(layout, PORTS_BY_SETTING, chosen_ports(PORTS_BY_SETTING))
    cluster = NativeCluster(data_dir, ports=ports)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    processes.wait_until(lambda: processes.running(cluster.layout, NAME) is not None, 5.0)
    say(f"supervising the services of {data_dir}")
    try:
        Supervisor(cluster, NativeServices(cluster)).run(stop)
    except (OrderctlError, OSError) as error:
        say(f"ending: {error}")
        return 1
    say("ended, as asked")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    sys.exit(run(parser.parse_args().data_dir))
