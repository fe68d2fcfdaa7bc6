"""The supervisor starts what should run and does not, and leaves alone what was stopped."""

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from orderctl.native import processes
from orderctl.native.cluster import NativeCluster
from orderctl.native.layout import Layout
from orderctl.native.ports import _reserved as reserved_ports
from orderctl.native.processes import ProcessRecord
from orderctl.native.services import NativeServices
from orderctl.native.supervisor import PAUSES_SECONDS, STEADY_SECONDS, Supervisor
from shared.services import SERVICES
from tests.harness.clusters import free_port_base


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now_seconds = 0.0

    def __call__(self) -> float:
        return self.now_seconds


class SleepingServices(NativeServices):
    """Services that are processes without a purpose, which is all that a supervisor sees of them."""

    def start(self, name: str, overrides: Mapping[str, str] | None = None) -> ProcessRecord:
        command = [sys.executable, "-c", "import time; time.sleep(60)"]
        return processes.spawn(
            self._layout,
            name,
            command,
            environment=os.environ,
            cwd=self._layout.data_dir,
            fingerprint=self.fingerprint(name),
        )


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[NativeCluster]:
    """A cluster of which nothing runs."""
    cluster = NativeCluster(tmp_path, port_base=free_port_base(22_500))
    cluster.layout.create()
    yield cluster
    cluster.end_leftovers()


@pytest.fixture
def services(cluster: NativeCluster) -> NativeServices:
    """Services that cost nothing."""
    return SleepingServices(cluster)


@pytest.fixture
def clock() -> Clock:
    """The time as the supervisor sees it."""
    return Clock()


@pytest.fixture
def supervisor(cluster: NativeCluster, services: NativeServices, clock: Clock) -> Supervisor:
    """A supervisor that looks when told to."""
    return Supervisor(cluster, services, clock)


def test_every_service_is_started(supervisor: Supervisor, services: NativeServices) -> None:
    """One look brings up whatever is missing."""
    supervisor.tick()
    assert all(services.running(name) for name in SERVICES)


def test_a_killed_service_comes_back(supervisor: Supervisor, services: NativeServices, clock: Clock) -> None:
    """A service that ran for a while is started again at once, as another process."""
    supervisor.tick()
    before = services.pid("notifier")
    clock.now_seconds += STEADY_SECONDS
    services.kill("notifier")
    supervisor.tick()
    assert services.pid("notifier") not in (None, before)


def test_a_stopped_service_stays_down(
    supervisor: Supervisor, services: NativeServices, cluster: NativeCluster
) -> None:
    """What the operator stopped is not started against his will, and is once he changes his mind."""
    supervisor.tick()
    cluster.layout.stopped("notifier").touch()
    services.stop("notifier")
    supervisor.tick()
    assert services.pid("notifier") is None
    cluster.layout.stopped("notifier").unlink()
    supervisor.tick()
    supervisor.tick()
    assert services.pid("notifier") is None, "it ended soon after its start, so there is a pause"


def test_a_service_that_keeps_ending_is_started_ever_more_slowly(
    supervisor: Supervisor, services: NativeServices, clock: Clock
) -> None:
    """Each end soon after a start doubles the pause, up to a bound."""
    supervisor.tick()
    for pause_seconds in (*PAUSES_SECONDS[1:], PAUSES_SECONDS[-1]):
        services.kill("notifier")
        supervisor.tick()
        clock.now_seconds += pause_seconds - 0.01
        supervisor.tick()
        assert services.pid("notifier") is None
        clock.now_seconds += 0.01
        supervisor.tick()
        assert services.pid("notifier") is not None


def test_a_new_supervisor_takes_over_what_runs(
    supervisor: Supervisor, services: NativeServices, cluster: NativeCluster
) -> None:
    """Services outlive their supervisor and are not started twice."""
    supervisor.tick()
    before = {name: services.pid(name) for name in SERVICES}
    Supervisor(cluster, services).tick()
    assert {name: services.pid(name) for name in SERVICES} == before


def test_one_part_that_cannot_be_looked_after_is_tried_again_and_harms_no_other(
    supervisor: Supervisor,
    services: NativeServices,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A full disk, or a port that was taken meanwhile: crashing services still come back, this one too."""
    sick, *others = SERVICES
    well = services.start

    def start(name: str) -> ProcessRecord:
        if name == sick:
            raise OSError(errno.ENOSPC, "No space left on device")
        return well(name)

    monkeypatch.setattr(services, "start", start)
    for _ in range(3):
        supervisor.tick()
    assert [name for name in SERVICES if services.running(name)] == others
    assert capsys.readouterr().out.count("No space left on device; trying again in 0.5 s") == 1
    monkeypatch.undo()
    supervisor.tick()
    assert not services.running(sick)
    clock.now_seconds += PAUSES_SECONDS[1]
    supervisor.tick()
    assert services.running(sick)


def test_a_log_that_cannot_be_trimmed_does_not_keep_a_service_down(
    supervisor: Supervisor,
    services: NativeServices,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Trimming a log needs room for its copy."""

    def trim_log(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Layout, "trim_log", trim_log)
    supervisor.tick()
    assert all(services.running(name) for name in SERVICES)
    for name in SERVICES:
        services.kill(name)
    clock.now_seconds += PAUSES_SECONDS[1]
    supervisor.tick()
    clock.now_seconds += PAUSES_SECONDS[2]
    supervisor.tick()
    assert all(services.running(name) for name in SERVICES)


def test_a_service_whose_port_was_taken_moves_and_says_so(
    supervisor: Supervisor,
    services: NativeServices,
    cluster: NativeCluster,
    clock: Clock,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """After a crash it does not fail for ever on the port that a stranger has by then."""
    supervisor.tick()
    before = cluster.ports["notifier.ops"]
    services.kill("notifier")
    with socket.create_server(("127.0.0.1", before)):
        clock.now_seconds += STEADY_SECONDS
        supervisor.tick()
        assert services.running("notifier")
        assert cluster.ports["notifier.ops"] != before
    assert f"port {before} is taken" in capsys.readouterr().out


def test_no_other_system_gets_the_ports_of_one_that_is_looked_after(
    supervisor: Supervisor, cluster: NativeCluster
) -> None:
    """Down for a moment, a part finds its port again: the supervisor holds it, not the command before."""
    cluster.ports.claim(["redis"])
    port = cluster.ports["redis"]
    os.close(reserved_ports.pop(port))
    supervisor.tick()
    look = f"from orderctl.native.ports import reserve; print(reserve({port}, 'another'))"
    other = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert other.stdout == "False\n"


def test_services_with_addresses_of_before_are_started_anew(
    supervisor: Supervisor, services: NativeServices, cluster: NativeCluster, clock: Clock
) -> None:
    """Redis came back on another port: a service that speaks to the old one may speak to a stranger."""
    cluster.ports.claim(["redis"])
    supervisor.tick()
    before = {name: services.running(name) for name in SERVICES}
    with socket.create_server(("127.0.0.1", cluster.ports["redis"])):
        cluster.ports.claim(["redis"])
    clock.now_seconds += STEADY_SECONDS
    supervisor.tick()
    assert all(record and processes.wait_gone(record, 10.0) for record in before.values())
    supervisor.tick()
    assert all(services.running(name) for name in SERVICES)


def test_the_log_of_whatever_writes_is_bounded_while_it_writes(
    supervisor: Supervisor, cluster: NativeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker in trouble writes 15 MB a minute: its log and the one before it stay within their bound."""
    monkeypatch.setattr("orderctl.native.layout.LOG_ROTATE_BYTES", 100_000)
    code = "import sys\nfor n in range(50): sys.stdin.readline(); print('x' * 19_999, flush=True)"
    log = cluster.layout.log("rabbitmq1")
    with (
        log.open("ab") as stdout,
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=stdout) as writer,
    ):
        assert writer.stdin is not None
        largest = 0
        for number in range(50):
            before = log.stat().st_size
            writer.stdin.write(b"\n")
            writer.stdin.flush()
            grown = partial(_is_longer, log, before)
            assert processes.wait_until(grown, 10.0), number
            supervisor.tick()
            largest = max(largest, sum(each.stat().st_size for each in log.parent.glob("rabbitmq1.log*")))
    assert 200_000 <= largest <= 260_000


def _is_longer(log: Path, size: int) -> bool:
    return log.stat().st_size > size
